"""The summary as text: Markdown, CSV, and lines for a terminal."""

import csv
import io
from collections.abc import Sequence
from dataclasses import fields

from mmkd.ablate.results import ACCURACY, Row
from mmkd.ablate.statistics import Interval
from mmkd.ablate.summary import Cells, Summary, limits
from mmkd.report.numbers import MISSING, scale_of

SHARE = scale_of(ACCURACY)
HEAD = (
    "variant",
    "seeds",
    "accuracy",
    "worst of best",
    "error",
    "difference",
    "95 % t",
    "95 % bootstrap",
    "seconds",
)
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


def limit_sentence(rows: Sequence[Row]) -> str:
    """What the best teachers reach; empty before the default has run."""
    found: Cells = limits(rows)
    values = [value for by_set in found.values.values() for value in by_set.values()]
    if not values:
        return ""
    return f"The best teacher of each modality reaches {SHARE.value(sum(values) / len(values))} % on average."


def as_markdown(title: str, about: str, lines: Sequence[Summary], rows: Sequence[Row]) -> str:
    """A document of its own."""
    table = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *[cells(line) for line in lines]]
    body = "\n".join(f"| {' | '.join(row)} |" for row in table)
    descriptions = [f"- **{line.variant}**: {line.about}" for line in lines if line.about]
    parts = [f"# {title}", about, limit_sentence(rows), body, MEANING, "\n".join(descriptions)]
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
        table.writerow([*(getattr(line, name) for name in plain), *found, *values])
    return stream.getvalue()


def print_table(title: str, lines: Sequence[Summary]) -> None:
    from rich.table import Table

    from mmkd.progress import console

    table = Table(*HEAD, title=title)
    for line in lines:
        table.add_row(*cells(line))
    console(len(HEAD)).print(table)
