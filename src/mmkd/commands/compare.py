"""`mmkd compare A B`."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import Json, LeastGroups

if TYPE_CHECKING:
    from mmkd.evaluation.summary.compare_runs import Line, RunComparison

SIDE_HELP = "RUN or RUN:MODEL: a run's folder or an evaluation's, and a model in it. [default: the student]"


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help=SIDE_HELP)],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, of what is subtracted.")],
    replicates: Annotated[int, typer.Option("--bootstrap", min=1, help="Replicates.")] = 2000,
    confidence: Annotated[float, typer.Option("--confidence", min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the replicates.")] = 0,
    least_groups: LeastGroups = 1,
    as_json: Json = False,
) -> None:
    """Compare two evaluated models sample by sample: paired differences with intervals, per data set and on average."""
    from mmkd.evaluation.summary.compare_runs import compare as body
    from mmkd.evaluation.summary.scores import Resampling

    found = body(first, second, Resampling(replicates, confidence, seed, least_groups=least_groups))
    print(json.dumps(as_plain(found), indent=1)) if as_json else _print(found)


def as_plain(found: "RunComparison") -> dict[str, object]:
    """The comparison with all metrics, for JSON."""
    lines = [
        {**asdict(line.comparison), "first": line.first, "second": line.second, "deciding": line.deciding}
        for line in found.lines
    ]
    return {**asdict(found), "lines": lines}


def _print(found: "RunComparison") -> None:
    """A table for each task, with the metric that decides."""
    from rich.table import Table

    from mmkd.evaluation.format.numbers import metric_label
    from mmkd.evaluation.format.results import IN_GENERAL
    from mmkd.evaluation.tasks.table import TASKS
    from mmkd.progress import console

    terminal = console(9)
    for task in dict.fromkeys(line.comparison.task for line in found.lines):
        table = Table("data set", "metric", "n", "A", "B", "A - B [interval]", "p", "p, Holm", "exact p")
        for line in [line for line in found.lines if line.comparison.task == task and line.deciding]:
            row = line.comparison
            name = row.dataset if row.dataset != "mean" or row.modality == "mean" else f"mean, {row.modality}"
            shown_name = f"{name}, {IN_GENERAL}" if row.subset == IN_GENERAL else name
            table.add_row(shown_name, metric_label(row.metric), f"{row.n:,}", *_numbers(line))
        terminal.print(f"{TASKS[task].title}: A = {found.first}, B = {found.second}")
        terminal.print(table)
    for name, only in ((found.first, found.only_first), (found.second, found.only_second)):
        if only:
            terminal.print(f"only {name} was evaluated on {', '.join(only)}")
    for notice in found.notices:
        terminal.print(notice)


def _numbers(line: "Line") -> list[str]:
    from mmkd.evaluation.format.numbers import bounds, scale_of, shown_p

    row, scale = line.comparison, scale_of(line.comparison.metric)
    values = [f"{scale.value(value)}{scale.unit}" for value in (line.first, line.second)]
    difference = f"{scale.signed(row.difference)} {bounds(row)}".rstrip()
    holm = "" if row.p_holm is None else shown_p(row.p_holm)
    exact = "" if row.p_exact is None else f"{shown_p(row.p_exact)} ({row.exact})"
    return [*values, difference, shown_p(row.p), holm, exact]
