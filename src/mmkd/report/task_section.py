"""Everything about one task: the means with their nulls, every data set, every metric, and who is ahead of whom."""

from collections.abc import Iterator, Mapping, Sequence

from mmkd.evaluation.format.results import (
    BEST_TEACHER,
    MEAN,
    NULLS,
    UNCLEARED,
    Result,
    by_modality,
    metric_label,
    several_modalities,
)
from mmkd.evaluation.tasks.table import TASKS
from mmkd.report import figures, markup
from mmkd.report.details import details
from mmkd.report.differences import differences, ranks
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING, scale_of
from mmkd.report.source import Evaluated, lower_is_better, primary_metric, task_title

MARK = "†"
RADAR_LEAST = 3


def task_section(evaluated: Evaluated, task: str) -> Iterator[str]:
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    mine = [row for row in rows if row.metric == metric]
    yield markup.heading(2, task_title(task), task)
    if task in TASKS:
        yield markup.folded("Protocol", [markup.paragraph(TASKS[task].protocol)])
    yield from _means(evaluated, task, mine)
    yield from _radar(evaluated, task, mine)
    yield from differences(evaluated, task)
    yield from ranks(evaluated, task)
    yield markup.heading(3, "Every data set")
    yield data_set_table(evaluated, task)
    if any(UNCLEARED in row.note for row in mine):
        yield markup.paragraph(
            f"{MARK} does not clear its null: what chance, colours and sizes, or random weights reach on this data set "
            "lies within the interval. Such a result says nothing about the model.",
            kind="muted",
        )
    yield from _every_metric(evaluated, task)
    yield from details(evaluated, task)
    yield from _notes(rows)


def data_set_table(evaluated: Evaluated, task: str) -> str:
    """A row per model, a column per data set, and the mean; the primary metric."""
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    cells = {(row.model, row.dataset): row for row in rows if row.metric == metric and row.dataset != MEAN}
    cells |= {(row.model, MEAN): row for row in figures.mean_rows(rows, metric)}
    data_sets = list(dict.fromkeys(name for _, name in cells))
    if len(data_sets) == 2:  # the mean of one data set is that data set
        data_sets.remove(MEAN)
    models = evaluated.order(model for model, _ in cells)
    caption = f"{metric_label(metric)}{_in_unit(metric)}; best of each column in bold, nulls aside"
    columns = {name: {model: cells.get((model, name)) for model in models} for name in data_sets}
    return _table(evaluated, ["", *data_sets], models, list(columns.values()), lower_is_better(task), caption)


def metric_table(evaluated: Evaluated, task: str) -> str:
    """A row per model, a column per metric; means over the data sets."""
    rows = [row for row in evaluated.of_task(task) if row.modality == MEAN]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    models = evaluated.order(row.model for row in rows)
    columns = [{row.model: row for row in rows if row.metric == metric} for metric in metrics]
    heads = ["", *(f"{metric_label(metric)}{_in_unit(metric)}" for metric in metrics)]
    return _table(evaluated, heads, models, columns, lower_is_better(task), "mean over the data sets")


def _table(
    evaluated: Evaluated,
    heads: Sequence[str],
    models: Sequence[str],
    columns: Sequence[Mapping[str, Result | None]],
    lower: Sequence[str],
    caption: str,
) -> str:
    best = [_best(column, lower) for column in columns]
    lines = [
        Line(
            model,
            [_cell(column.get(model), top) for column, top in zip(columns, best, strict=True)],
            evaluated.row_kind(model),
        )
        for model in models
    ]
    return markup.table(heads, lines, caption)


def _best(column: Mapping[str, Result | None], lower: Sequence[str]) -> float | None:
    found = [row for model, row in column.items() if row is not None and model not in NULLS]
    if not found:
        return None
    return (min if found[0].metric in lower else max)(row.value for row in found)


def _cell(row: Result | None, best: float | None) -> Cell:
    if row is None:
        return Cell(MISSING, title="not measured")
    scale = scale_of(row.metric)
    mark = f" {MARK}" if UNCLEARED in row.note else ""
    title = f"{scale.interval(row.low, row.high)} n = {row.n:,}".strip()
    is_best = row.value == best and row.model not in NULLS
    return Cell(scale.value(row.value) + mark, "best" if is_best else "", title=title)


def _means(evaluated: Evaluated, task: str, mine: Sequence[Result]) -> Iterator[str]:
    means = {row.model: row for row in mine if row.modality == MEAN}
    if not means:
        return
    metric = mine[0].metric
    drawn = figures.means_figure([means[name] for name in evaluated.order(means)], evaluated.main, evaluated.teachers)
    says = f"{metric_label(metric)}, mean over the data sets with intervals: " + _range(means)
    yield markup.figure(f"{task}-means", drawn, says)
    table = by_modality(mine, task, metric)
    if modalities := several_modalities(table):
        columns = [{model: table[model].get(name) for model in table} for name in [*modalities, MEAN]]
        caption = f"{metric_label(metric)}{_in_unit(metric)} by modality"
        models = evaluated.order(table)
        yield _table(evaluated, ["", *modalities, MEAN], models, columns, lower_is_better(task), caption)


def _radar(evaluated: Evaluated, task: str, mine: Sequence[Result]) -> Iterator[str]:
    metric = mine[0].metric
    table = by_modality(mine, task, metric)
    modalities = several_modalities(table)
    if len(modalities) < RADAR_LEAST or evaluated.main not in table:
        return
    means = {name: rows[MEAN].value for name, rows in table.items() if MEAN in rows}
    best = sorted(evaluated.rivals(means), key=lambda name: means[name], reverse=metric not in lower_is_better(task))
    shown = [evaluated.main, *best[:3], *(name for name in NULLS[1:2] if name in table)]
    values = {name: {m: table[name][m].value for m in modalities if m in table[name]} for name in shown}
    drawn = figures.radar_figure(values, modalities, evaluated.main, scale_of(metric))
    says = f"{metric_label(metric)} by modality: {evaluated.named}, the best {min(3, len(best))} others on average"
    null = ", and what colours and sizes alone reach" if NULLS[1] in table else ""
    yield markup.figure(f"{task}-radar", drawn, f"{says}{null}. The axis need not start at zero.")


def _every_metric(evaluated: Evaluated, task: str) -> Iterator[str]:
    metrics = {row.metric for row in evaluated.of_task(task) if row.modality == MEAN}
    if len(metrics) > 1:
        yield markup.heading(3, "Every metric")
        yield metric_table(evaluated, task)


def _notes(rows: Sequence[Result]) -> Iterator[str]:
    """Warnings of the data sets and choices made on them, each once."""
    noted = dict.fromkeys(
        (row.dataset, row.model if row.model == BEST_TEACHER else "", row.note)
        for row in rows
        if row.note and row.dataset != MEAN and not row.note.startswith(UNCLEARED)
    )
    if noted:
        yield markup.folded("Notes on the data sets", [markup.text_table(["data set", "model", "note"], list(noted))])


def _range(means: Mapping[str, Result]) -> str:
    low, high = (choose(means.values(), key=lambda row: row.value) for choose in (min, max))
    scale = scale_of(low.metric)
    return f"from {scale.value(low.value)} ({low.model}) to {scale.value(high.value)} ({high.model})."


def _in_unit(metric: str) -> str:
    unit = scale_of(metric).unit.strip()
    return f", {unit}" if unit else ""
