"""Results as plain-text tables, in %: whole in a log, no name or number cut."""

import io
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from mmkd.evaluation.results import MEAN, Comparison, Result, by_modality, in_order, metric_label, several_modalities
from mmkd.evaluation.tasks.table import TASKS

WIDE_ENOUGH = 1000  # rich needs a width; a table takes what its content needs
Titled = tuple[str, Table]


def printed(results: Sequence[Result], comparisons: Sequence[Comparison], teachers: Sequence[str]) -> str:
    """For every task: its primary metric by modality and its other metrics; then the student against all others."""
    tables: list[Titled] = []
    for task in dict.fromkeys(row.task for row in results):
        mine = [row for row in results if row.task == task]
        tables += [modality_table(mine, task, teachers), metric_table(mine, task, teachers)]
    tables += gain_tables(comparisons)
    return "\n\n".join(f"{title}\n{_text(table)}" for title, table in tables)


def modality_table(results: Sequence[Result], task: str, teachers: Sequence[str]) -> Titled:
    """The task's primary metric: a row per model, a column per modality, and the mean over the data sets."""
    metric = TASKS[task].primary
    rows = by_modality(results, task, metric)
    modalities = several_modalities(rows)
    table = _table([*modalities, "mean [interval]"])
    for model in in_order(rows, teachers):
        table.add_row(model, *(_percent(rows[model][name].value) for name in modalities), _spread(rows[model][MEAN]))
    return f"{TASKS[task].title}: {metric_label(metric)} in %", table


def metric_table(results: Sequence[Result], task: str, teachers: Sequence[str]) -> Titled:
    """All metrics of the task: a row per model, a column per metric, means over the data sets."""
    means = {(row.model, row.metric): row for row in results if row.modality == MEAN and row.task == task}
    metrics = list(dict.fromkeys(metric for _, metric in means))
    table = _table([metric_label(name) for name in metrics])
    for model in in_order((name for name, _ in means), teachers):
        table.add_row(model, *(_percent(means[model, metric].value) for metric in metrics))
    return f"{TASKS[task].title}: all metrics, mean over the data sets, in %", table


def gain_tables(comparisons: Sequence[Comparison]) -> Iterator[Titled]:
    """For every task: the student minus each other model, primary metric, mean over the data sets."""
    for task in dict.fromkeys(row.task for row in comparisons):
        metric = TASKS[task].primary
        rows = [row for row in comparisons if (row.task, row.modality, row.metric) == (task, MEAN, metric)]
        table = _table(["difference [interval]", "p"], first="rival")
        for row in rows:
            bounds = "" if row.low is None or row.high is None else f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
            table.add_row(row.rival, f"{100 * row.difference:+.1f}{bounds}", f"{row.p:.3f}")
        yield (
            f"{TASKS[task].title}: student minus rival, {metric_label(metric)} on average, points",
            table,
        )


def _table(columns: Sequence[str], first: str = "model") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _spread(row: Result) -> str:
    if row.low is None or row.high is None:
        return _percent(row.value)
    return f"{_percent(row.value)} [{_percent(row.low)}, {_percent(row.high)}]"


def _text(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=WIDE_ENOUGH, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().strip("\n").splitlines())
