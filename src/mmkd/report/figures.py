"""Figures of results and differences: rows in, plots out."""

import math
from collections.abc import Mapping, Sequence

from mmkd.evaluation.format.numbers import Scale, gain, p_text, scale_of, spread
from mmkd.evaluation.format.results import MEAN, Comparison, Ranking, Result
from mmkd.report.plot import (
    DASHES,
    HUES,
    ROW_PX,
    Axis,
    Key,
    Line,
    Mark,
    Plot,
    Point,
    Text,
    Tick,
    kind_colour,
    kind_symbol,
    label,
    names,
    numeric,
    round_ticks,
)

RIVALS = ("ours", "limit", *HUES)  # colours of several rivals on one line
RADAR_ROOM = 1.35  # of the radius, for the names around it
LINE_PX = 24  # of a critical-difference diagram


def means_plot(rows: Sequence[Result], main: str, teachers: Sequence[str]) -> Plot:
    """A line per row (model) with its interval, in the order given."""
    scale = scale_of(rows[0].metric)
    marks = [
        Mark(
            scale.factor * row.value,
            place,
            kind_colour(row.model, main, teachers),
            f"{row.model}: {spread(row)}",
            kind_symbol(row.model, main, teachers),
            13 if row.model == main else 10,
            *_bounds(row, scale),
        )
        for place, row in enumerate(rows)
    ]
    return Plot(_around(marks, unit=scale.unit), names([row.model for row in rows]), ROW_PX * len(rows), marks=marks)


def forest_plot(
    groups: Mapping[str, Sequence[Comparison]], main: str, teachers: Sequence[str], emphasised: Sequence[str] = ()
) -> Plot:
    """A line per group with a mark per rival in it: difference and interval. emphasised: groups that are means."""
    rivals = list(dict.fromkeys(row.rival for rows in groups.values() for row in rows))
    one_each = all(len(rows) == 1 for rows in groups.values())
    looks = {}  # rival -> colour, symbol, shift
    for number, rival in enumerate(rivals):
        own = kind_colour(rival, main, teachers), kind_symbol(rival, main, teachers), 0.0
        shift = 0.32 * (number / max(1, len(rivals) - 1) - 0.5)
        looks[rival] = own if one_each else (RIVALS[number % len(RIVALS)], ("circle", "square")[number % 2], shift)
    marks = []
    for place, (name, rows) in enumerate(groups.items()):
        for row in rows:
            scale, mean = scale_of(row.metric), name in emphasised
            says = f"{name}, against {row.rival}: {gain(row)}, {p_text(row.p)}"
            colour, symbol, shift = looks[row.rival]
            shape, size = ("diamond", 12) if mean else (symbol, 8)
            at = scale.factor * row.difference
            marks.append(Mark(at, place + shift, colour, says, shape, size, *_bounds(row, scale)))
    unit = scale_of(next(iter(groups.values()))[0].metric).points.strip() or "difference"
    keys = [] if one_each else [Key(f"against {rival}", *looks[rival][:2]) for rival in rivals]
    return difference_plot(marks, list(groups), unit, keys, emphasised)


def difference_plot(
    marks: Sequence[Mark], rows: Sequence[str], unit: str, keys: Sequence[Key] = (), bold: Sequence[str] = ()
) -> Plot:
    """Marks on lines with names, around a line at zero."""
    x, y = _around(marks, f"← behind · {unit} · ahead →", also=[0.0]), names(rows, bold)
    zero = Line([(0, y.low), (0, y.high)], "ink", width=1)
    return Plot(x, y, ROW_PX * len(rows), lines=[zero], marks=marks, keys=keys)


def radar_plot(table: Mapping[str, Mapping[str, float]], modalities: Sequence[str], main: str, scale: Scale) -> Plot:
    """A ring per model. table: model -> modality -> value; the main model is filled, models without a value are cut."""
    values = [scale.factor * value for row in table.values() for value in row.values()]
    low = max(0.0, min(values) - 0.15 * (max(values) - min(values)) - 1e-6)
    high = max(values)
    turns = [2 * math.pi * number / len(modalities) for number in range(len(modalities))]

    def place(number: int, value: float) -> Point:
        radius, turn = (value - low) / (high - low), turns[number % len(turns)]
        return radius * math.sin(turn), radius * math.cos(turn)

    rings = round_ticks(low, high, scale.unit)
    around = range(len(modalities) + 1)
    lines = [Line([place(number, ring.place) for number in around], "line", width=1) for ring in rings]
    lines += [Line([(0, 0), place(number, high)], "line", width=1) for number in range(len(modalities))]
    others = [model for model in table if model != main]
    marks, keys = [], []
    for model, row in table.items():
        number = 0 if model == main else others.index(model)
        colour = "ours" if model == main else HUES[number % len(HUES)]
        dash = "solid" if model == main else DASHES[number % len(DASHES)]
        reached = {at: scale.factor * row[name] for at, name in enumerate(modalities) if name in row}
        points = {at: place(at, value) for at, value in reached.items()}
        if model == main:
            lines.append(Line(list(points.values()), colour, kind="area"))
        lines += [
            Line([points[at], points[after]], colour, dash=dash, width=3 if model == main else 1.8)
            for at in points
            if (after := (at + 1) % len(modalities)) in points
        ]
        marks += [
            Mark(*points[at], colour, f"{model}, {modalities[at]}: {reached[at]:.{scale.digits}f}{scale.unit}", size=6)
            for at in points
        ]
        keys.append(Key(model, colour, dash=dash))
    texts = [Text(0, place(0, ring.place)[1], ring.text, "muted", "middle") for ring in rings]
    for turn, name in zip(turns, modalities, strict=True):
        side = "middle" if abs(math.sin(turn)) < 0.2 else "start" if math.sin(turn) > 0 else "end"
        texts.append(Text(1.06 * math.sin(turn), 1.1 * math.cos(turn), label(name), anchor=side))
    x, y = Axis(-1.7, 1.7), Axis(-RADAR_ROOM + 0.15, RADAR_ROOM - 0.15)
    return Plot(x, y, 400, lines=lines, marks=marks, texts=texts, keys=keys, width=620)


def critical_difference_plot(ranking: Ranking, main: str, teachers: Sequence[str]) -> Plot:
    """Mean ranks on a line, best left; a bar joins models whose ranks do not differ significantly (Demšar 2006).

    Stems turn to the names at the left, the best first, so that none crosses another or a name.
    """
    rank = dict(zip(ranking.models, ranking.mean_ranks, strict=True))
    count = len(rank)
    bars = [group for group in ranking.alike if len(group) > 1]
    top = 0.55 * (len(bars) + 1) + 0.5
    left, right = 0.8, count + 0.2
    lines = [Line([(left, 0), (right, 0)], "ink", width=1)]
    marks, named = [], []
    for line, (model, value) in enumerate(rank.items(), start=1):
        colour = kind_colour(model, main, teachers)
        lines.append(Line([(value, 0), (value, -line), (left, -line)], colour, width=1.5))
        marks.append(Mark(value, -line, colour, f"{model}: mean rank {value:.2f}", kind_symbol(model, main, teachers)))
        named.append(Tick(-line, f"{label(model, 22)} {value:.2f}", model == main))
    for height, group in enumerate(bars, start=1):
        ends = [min(rank[model] for model in group) - 0.03, max(rank[model] for model in group) + 0.03]
        lines.append(Line([(end, 0.55 * height) for end in ends], "ink", ", ".join(group), width=5))
    lines.append(Line([(1, top), (min(count, 1 + ranking.difference), top)], "muted"))
    texts = [Text(1, top + 0.55, f"critical difference {ranking.difference:.2f}", "muted")]
    x = Axis(left, right, round_ticks(1, count, whole=True, count=count), "mean rank (1 is best)")
    y = Axis(-count - 0.8, top + 1, named, grid=False)
    return Plot(x, y, LINE_PX * (count + len(bars)) + 60, lines=lines, marks=marks, texts=texts)


def mean_rows(rows: Sequence[Result], metric: str) -> list[Result]:
    return [row for row in rows if row.modality == MEAN and row.metric == metric]


def _around(marks: Sequence[Mark], title: str = "", unit: str = "", also: Sequence[float] = ()) -> Axis:
    ends = [bound for mark in marks for bound in (mark.x, mark.low, mark.high) if bound is not None]
    return numeric([*ends, *also], title, unit)


def _bounds(row: Result | Comparison, scale: Scale) -> tuple[float | None, float | None]:
    if row.low is None or row.high is None:
        return None, None
    return scale.factor * row.low, scale.factor * row.high
