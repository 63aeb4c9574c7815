"""The summary as one page: a table, the differences with their intervals, and curves where variants lie on lines."""

from collections.abc import Sequence
from itertools import chain

from mmkd.ablate.results import Row as ResultRow
from mmkd.ablate.settings import DEFAULT
from mmkd.ablate.summary import Summary
from mmkd.ablate.tables import HEAD, MEANING, SHARE, cells, limit_sentence
from mmkd.report.figures import difference_plot
from mmkd.report.plot import Figure, Key, Line, Mark, Plot, numeric
from mmkd.report.render import render
from mmkd.report.theme import DASHES, HUES, SYMBOLS, label
from mmkd.report.view import Row, Table, text_table


def page(title: str, about: str, axis: str, lines: Sequence[Summary], rows: Sequence[ResultRow]) -> str:
    """The whole document. axis: what the variants' `x` means."""
    modalities = list(dict.fromkeys(name for line in lines for name in line.by_modality))
    described = [[line.variant, line.about] for line in lines if line.about]
    return render(
        "ablation.html",
        title=title,
        about=about,
        limit=limit_sentence(rows),
        curves=_curves(lines, axis),
        differences=_differences([line for line in lines if line.difference is not None]),
        variants=Table(HEAD, [Row(line.variant, cells(line)[1:], _kind(line)) for line in lines]),
        meaning=MEANING,
        modalities=Table(["variant", *modalities], [_by_modality(line, modalities) for line in lines]),
        described=text_table(["variant", "description"], described) if described else None,
    )


def _by_modality(line: Summary, modalities: Sequence[str]) -> Row:
    return Row(line.variant, [SHARE.value(line.by_modality.get(name)) for name in modalities], _kind(line))


def _kind(line: Summary) -> str:
    return "ours" if line.variant == DEFAULT else ""


def _curves(lines: Sequence[Summary], axis: str) -> Figure | None:
    says = f"zero-shot accuracy of the student, mean over modalities and seeds, against: {axis}"
    return Figure("curves", curves_plot(lines, axis), says) if any(line.line for line in lines) else None


def _differences(lines: Sequence[Summary]) -> Figure | None:
    says = "difference of each variant, in points of accuracy, with the paired t interval over seeds"
    if all(line.t is None for line in lines):
        says = "difference of each variant, in points of accuracy; one seed has no interval"
    return Figure("differences", differences_plot(lines), says) if lines else None


def differences_plot(lines: Sequence[Summary]) -> Plot:
    """A mark for each variant, with its interval where there is one."""
    marks = []
    for place, line in enumerate(lines):
        x = SHARE.factor * (line.difference or 0.0)
        low, high = (None, None) if line.t is None else (SHARE.factor * line.t.low, SHARE.factor * line.t.high)
        is_sure = low is not None and high is not None and (low > 0 or high < 0)
        colour = "muted" if not is_sure else "ours" if x > 0 else "rival"
        symbol = "circle-open" if line.t is None else "circle"
        marks.append(Mark(x, place, colour, f"{line.variant}: {x:+.1f} points", symbol, 10, low, high))
    return difference_plot(marks, [f"{label(line.variant)} − {label(line.against)}" for line in lines], "points")


def curves_plot(lines: Sequence[Summary], axis: str) -> Plot:
    """A curve for each name of `line`, in the order in which they appear."""
    drawn, marks, keys = [], [], []
    for number, name in enumerate(dict.fromkeys(line.line for line in lines if line.line)):
        points = sorted(
            (line.x, SHARE.factor * line.mean) for line in lines if line.line == name and line.x is not None
        )
        colour, dash, symbol = (kinds[number % len(kinds)] for kinds in (HUES, DASHES, SYMBOLS))
        drawn.append(Line(points, colour, name, dash, 2.5))
        marks += [Mark(x, y, colour, f"{name}, {x:g}: {y:.1f} %", symbol, 9) for x, y in points]
        keys.append(Key(name, colour, symbol))
    every = list(chain.from_iterable(line.points for line in drawn))
    x, y = numeric([x for x, _ in every], axis), numeric([y for _, y in every], unit=" %")
    return Plot(x, y, 340, lines=drawn, marks=marks, keys=keys)
