"""Figures of lines: reliability diagrams, Kaplan-Meier curves, label efficiency, training; and bars of counts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from mmkd.curation.ledger.tally import binned, quantile
from mmkd.evaluation.format.numbers import scale_of, spread
from mmkd.evaluation.format.results import Result
from mmkd.report.plot import (
    DASHES,
    HUES,
    ROW_PX,
    SERIES,
    Axis,
    Bar,
    Key,
    Line,
    Mark,
    Plot,
    Point,
    Text,
    Tick,
    kind_colour,
    label,
    names,
    numeric,
    round_ticks,
)
from mmkd.statistics.calibration import ReliabilityBin
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.kaplan_meier import KaplanMeier

SQUARE_PX = 270
BAR_PX = 15
UNIT_TICKS = round_ticks(0, 1)
BINS = 40
FEW = 8  # counts, up to which ticks are whole numbers
CUT = 0.995  # a few values far out would press the rest into one bar; the last bar holds them


def reliability_plot(bins: Sequence[ReliabilityBin]) -> Plot:
    """Confidence against accuracy; the size of a mark grows with the samples in its bin."""
    total = sum(one.count for one in bins)
    marks = [
        Mark(
            one.confidence,
            one.correct,
            "ours",
            f"confidence {one.confidence:.2f}, accuracy {one.correct:.2f}, {one.count:,} samples",
            size=round(6 + 18 * (one.count / total) ** 0.5, 1),
        )
        for one in bins
    ]
    lines = [Line([(0, 0), (1, 1)], "muted", dash="dot"), Line([(mark.x, mark.y) for mark in marks], "ours")]
    x, y = Axis(0, 1.02, UNIT_TICKS, "confidence"), Axis(-0.02, 1.04, UNIT_TICKS, "accuracy")
    return Plot(x, y, SQUARE_PX, lines=lines, marks=marks)


def survival_plot(curves: Mapping[str, KaplanMeier]) -> Plot:
    """Steps with pointwise intervals and a tick at every censoring. curves: group -> curve, higher risk last."""
    lines, marks, keys = [], [], []
    colours, dashes = ("ours", "rival", *HUES), DASHES[:3]
    for number, (name, curve) in enumerate(curves.items()):
        colour, dash = colours[number % len(colours)], dashes[number % len(dashes)]
        low, high = steps(curve, curve.low_U), steps(curve, curve.high_U)
        lines.append(Line([*high, *reversed(low)], colour, kind="area"))
        lines.append(Line(steps(curve, curve.survival_U), colour, name, dash, 2.4))
        lost_U = curve.censored_U > 0
        marks += [
            Mark(float(time), float(alive), colour, symbol="bar", size=7)
            for time, alive in zip(curve.time_U[lost_U], curve.survival_U[lost_U], strict=True)
        ]
        keys.append(Key(f"{name} ({int(curve.at_risk_U[0])})", colour, dash=dash))
    last = max((float(curve.time_U.max()) for curve in curves.values() if len(curve.time_U)), default=1.0)
    x, y = numeric([0, last], "time", zero=True), Axis(-0.02, 1.03, UNIT_TICKS, "survival probability")
    return Plot(x, y, SQUARE_PX, lines=lines, marks=marks, keys=keys)


def steps(curve: KaplanMeier, value_U: Array) -> list[Point]:
    """The corners of a step function, from one at time 0."""
    time = np.repeat(np.concatenate([[0.0], curve.time_U]), 2)[1:]
    value = np.repeat(np.concatenate([[1.0], value_U]), 2)[:-1]
    return list(zip(time.tolist(), value.tolist(), strict=True))


def fractions_plot(curves: Mapping[str, Sequence[Point]], metric: str, main: str, teachers: Sequence[str]) -> Plot:
    """A line per model over the share of labels it was trained on. curves: model -> (share 0..1, value)."""
    scale = scale_of(metric)
    lines, marks, keys = [], [], []
    for number, (model, points) in enumerate(curves.items()):
        colour, dash = kind_colour(model, main, teachers), "solid" if model == main else DASHES[number % len(DASHES)]
        drawn = [(100 * share, scale.factor * value) for share, value in points]
        lines.append(Line(drawn, colour, model, dash, 3 if model == main else 1.5))
        marks += [
            Mark(x, y, colour, f"{model}: {x:g} % of the labels, {y:.{scale.digits}f}{scale.unit}", size=7)
            for x, y in drawn
        ]
        keys.append(Key(model, colour, dash=dash))
    shares = sorted({round(mark.x, 6) for mark in marks})
    ticks = [Tick(at, f"{at:g} %") for at in shares]
    x = Axis(shares[0] / 1.1, shares[-1] * 1.1, ticks, "share of the training labels", logarithmic=True)
    return Plot(x, numeric([mark.y for mark in marks], unit=scale.unit), SQUARE_PX, lines=lines, marks=marks, keys=keys)


def severity_plot(curves: Mapping[str, Sequence[Point]], main: str, teachers: Sequence[str]) -> Plot:
    """A line per model over the severity of corruptions, 0 to 5. curves: model -> (severity, accuracy 0..1)."""
    lines, marks, keys = [], [], []
    for number, (model, points) in enumerate(curves.items()):
        colour, dash = kind_colour(model, main, teachers), "solid" if model == main else DASHES[number % len(DASHES)]
        drawn = [(severity, 100 * value) for severity, value in points]
        lines.append(Line(drawn, colour, model, dash, 3 if model == main else 1.5))
        marks += [Mark(x, y, colour, f"{model}, severity {x:g}: {y:.1f} %", size=7) for x, y in drawn]
        keys.append(Key(model, colour, dash=dash))
    last = max(mark.x for mark in marks)
    x = Axis(-0.15, last + 0.15, [Tick(at, f"{at}") for at in range(round(last) + 1)], "severity")
    return Plot(x, numeric([mark.y for mark in marks], unit=" %"), SQUARE_PX, lines=lines, marks=marks, keys=keys)


def controls_plot(rows: Mapping[str, Sequence[Result]]) -> Plot:
    """Bars of a model's accuracy beside its blind baselines. rows: model -> the metrics of one kind of answer."""
    metrics = list(dict.fromkeys(row.metric for found in rows.values() for row in found))
    colours = {metric: ("ours", *HUES[1:])[number] for number, metric in enumerate(metrics)}
    thick = 0.76 / len(metrics)
    bars, texts = [], []
    for place, found in enumerate(rows.values()):
        for row in found:
            scale, top = scale_of(row.metric), place - 0.38 + thick * metrics.index(row.metric)
            value = scale.factor * row.value
            says = f"{row.model}, {row.metric.replace('_', ' ')}: {spread(row)}"
            bars.append(Bar((0, value), (top, top + 0.92 * thick), colours[row.metric], says))
            texts.append(Text(value, top + 0.46 * thick, f"{value:.{scale.digits}f}", "muted", shift=5))
    keys = [Key(label(metric.replace("_", " ")), colours[metric], "square") for metric in metrics]
    x = numeric([bar.x[1] for bar in bars], unit=" %", zero=True, pad=0.12)
    height = (BAR_PX * len(metrics) + 8) * len(rows)
    return Plot(x, names(list(rows)), height, bars=bars, texts=texts, keys=keys)


def training_plot(curves: Mapping[str, Sequence[Point]], value: str, small: bool = False, zero: bool = False) -> Plot:
    """A line per training run. curves: name of the run -> (step, value).

    A run has its colour and dash by its place among all, and one without points is not drawn, so that figures of
    several values agree. small: one of many, without a legend. zero: the axis starts there.
    """
    lines, marks, keys = [], [], []
    for number, (name, points) in enumerate(curves.items()):
        if not points:
            continue
        colour, dash = SERIES[number % len(SERIES)], DASHES[number % len(DASHES)]
        (step, last), values = points[-1], [height for _, height in points]
        says = f"{name}: {last:.4g} at step {step:,}; {min(values):.4g} to {max(values):.4g}"
        lines.append(Line(points, colour, says, dash))
        marks.append(Mark(step, last, colour, says, size=5))
        keys.append(Key(name, colour, dash=dash))
    x = numeric([at for points in curves.values() for at, _ in points], "step")
    y = numeric([height for line in lines for _, height in line.points], "" if small else value, zero=zero)
    return Plot(x, y, SQUARE_PX - 60 if small else 320, lines=lines, marks=marks, keys=() if small else keys)


def funnel_plot(left: Mapping[str, int]) -> Plot:
    """A bar per step: what was left after it."""
    bars = [
        Bar((0, count), (place - 0.38, place + 0.38), says=f"{name}: {count:,} left")
        for place, (name, count) in enumerate(left.items())
    ]
    texts = [Text(count, place, f"{count:,}", shift=6) for place, count in enumerate(left.values())]
    x = numeric(list(left.values()), zero=True, whole=True, pad=0.12)
    return Plot(x, names(list(left)), ROW_PX * len(left), bars=bars, texts=texts)


def spread_plot(counts: Mapping[int, int], unit: str) -> Plot:
    """Bars of equal width. counts: value -> records; must not be empty."""
    most = quantile(counts, CUT)
    held: dict[int, int] = {}
    for value, times in counts.items():
        held[min(value, most)] = held.get(min(value, most), 0) + times
    edges, sums = binned(held, BINS)
    last = len(sums) - 1 if max(counts) > most else None
    spans = [f"{low} or more" if n == last else span_text(low, edges[n + 1]) for n, low in enumerate(edges[:-1])]
    bars = [
        Bar((low, high - 0.05 * (high - low)), (0, times), says=f"{span} {unit}: {times:,}")
        for (low, high), times, span in zip(pairwise(edges), sums, spans, strict=True)
    ]
    y = numeric(sums, "records", zero=True, whole=max(sums) < FEW)
    return Plot(numeric(edges, unit, whole=True, pad=0.01), y, 180, bars=bars)


def span_text(low: int, end: int) -> str:
    """The whole numbers from `low` up to, but not with, `end`."""
    return str(low) if end == low + 1 else f"{low} to {end - 1}"
