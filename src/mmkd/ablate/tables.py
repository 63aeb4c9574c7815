"""The summary as Markdown, CSV, lines for a terminal, and a page with the differences and curves of the variants."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from itertools import chain

from mmkd.ablate.settings import DEFAULT
from mmkd.ablate.summary import ACCURACY, Interval, Summary, counted, left_out, limits
from mmkd.ablate.summary import Row as ResultRow
from mmkd.evaluation.format.numbers import MISSING, scale_of
from mmkd.report.figures import difference_plot
from mmkd.report.plot import DASHES, HUES, SYMBOLS, Figure, Key, Line, Mark, Plot, label, numeric
from mmkd.report.render import render
from mmkd.report.view import Row, Table, text_table
from mmkd.tables.spreadsheet import harmless

SHARE = scale_of(ACCURACY)
HEAD = ("variant", "seeds", "accuracy", "worst of best", "error", "difference", "95 % t", "95 % bootstrap", "seconds")
MEANING = (
    "In %, differences in points. Accuracy: zero-shot, mean over modalities and seeds. Worst of best: the lowest ratio "
    "of student and best teacher of a modality, in any seed. Error: mean distance to the best teacher of a modality, "
    "chosen among the default's teachers on the test data. Difference: to the default, or to the variant in brackets, "
    "paired by seed. The t interval is over the seeds' means: with three seeds it has two degrees of freedom. The "
    "bootstrap draws seeds and modalities; with so few seeds it is too narrow. Many variants are compared, and no "
    "interval is corrected for that. Seconds: of stage 2."
)


def cells(line: Summary) -> list[str]:
    """A line as the tables print it, in the order of HEAD."""
    against = "" if line.against in ("", "default") else f" ({line.against})"
    difference = MISSING if line.difference is None else SHARE.signed(line.difference) + against
    return [
        line.variant,
        str(line.seeds),
        SHARE.value(line.mean),
        SHARE.value(line.worst),
        SHARE.value(line.error),
        difference,
        _interval(line.t),
        _interval(line.crossed),
        f"{line.seconds:.0f}",
    ]


def _interval(found: Interval | None) -> str:
    return MISSING if found is None else SHARE.interval(found.low, found.high, "+")


def limit_sentence(rows: Sequence[ResultRow]) -> str:
    """What the best teachers reach; empty before the default has run."""
    values = [value for by_set in limits(counted(rows)).values() for value in by_set.values()]
    if not values:
        return ""
    return f"The best teacher of each modality reaches {SHARE.value(sum(values) / len(values))} % on average."


def left_out_sentence(rows: Sequence[ResultRow]) -> str:
    """Which data sets no number of the tables is made of; empty where all count."""
    names = left_out(rows)
    return f"In no number: {', '.join(names)}, with fewer groups than least_groups asks for." if names else ""


def as_markdown(title: str, about: str, lines: Sequence[Summary], rows: Sequence[ResultRow]) -> str:
    """A document of its own."""
    table = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *[cells(line) for line in lines]]
    body = "\n".join(f"| {' | '.join(row)} |" for row in table)
    descriptions = [f"- **{line.variant}**: {line.about}" for line in lines if line.about]
    parts = [f"# {title}", about, limit_sentence(rows), left_out_sentence(rows), body, MEANING, "\n".join(descriptions)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_csv(lines: Sequence[Summary]) -> str:
    """Every number as it is, shares in 0..1; one column for each modality."""
    modalities = list(dict.fromkeys(name for line in lines for name in line.by_modality))
    plain = [one.name for one in fields(Summary) if one.name not in ("t", "crossed", "by_modality")]
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    bounds = [f"{name}_{side}" for name in ("t", "crossed") for side in ("low", "high")]
    table.writerow([*plain, *bounds, *(f"accuracy {name}" for name in modalities)])
    for line in lines:
        found = [bound for interval in (line.t, line.crossed) for bound in interval or (None, None)]
        values = [line.by_modality.get(name) for name in modalities]
        table.writerow(map(harmless, [*(getattr(line, name) for name in plain), *found, *values]))
    return stream.getvalue()


def print_table(title: str, lines: Sequence[Summary]) -> None:
    from rich.table import Table

    from mmkd.progress import console

    table = Table(*HEAD, title=title)
    for line in lines:
        table.add_row(*cells(line))
    console(len(HEAD)).print(table)


def page(title: str, about: str, axis: str, lines: Sequence[Summary], rows: Sequence[ResultRow]) -> str:
    """The whole document. axis: what the variants' `x` means."""
    modalities = list(dict.fromkeys(name for line in lines for name in line.by_modality))
    described = [[line.variant, line.about] for line in lines if line.about]
    return render(
        "ablation.html",
        title=title,
        about=about,
        limit=limit_sentence(rows),
        left_out=left_out_sentence(rows),
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
