"""Everything about one task: means with their nulls, every data set, every metric, paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkd.evaluation.format.numbers import MISSING, bounds, metric_label, scale_of
from mmkd.evaluation.format.results import (
    ALIKE,
    BEST_TEACHER,
    MEAN,
    NULLS,
    UNCLEARED,
    Result,
    by_modality,
    several_modalities,
)
from mmkd.evaluation.tasks.table import TASKS
from mmkd.report import figures
from mmkd.report.details import details
from mmkd.report.differences import differences, ranks
from mmkd.report.plot import Figure
from mmkd.report.source import Evaluated, left_out_sentence, lower_is_better, primary_metric
from mmkd.report.view import Cell, Row, Table, text_table

MARK = " †"  # after a value that does not clear its null
RADAR_LEAST = 3


def task_section(evaluated: Evaluated, task: str) -> dict[str, Any]:
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    mine = [row for row in rows if row.metric == metric]
    return {
        "protocol": TASKS[task].protocol if task in TASKS else "",
        "left_out": left_out_sentence(evaluated.left_out(task)),
        "means": _means(evaluated, task, mine),
        "by_modality": _modality_table(evaluated, task, mine),
        "radar": _radar(evaluated, task, mine),
        "differences": differences(evaluated, task),
        "ranks": ranks(evaluated, task),
        "data_sets": data_set_table(evaluated, task),
        "mark": MARK if any(UNCLEARED in row.note for row in mine) else "",
        "metrics": metric_table(evaluated, task),
        "details": details(evaluated, task),
        "notes": _notes(rows),
    }


def data_set_table(evaluated: Evaluated, task: str, mean_of_one: bool = False) -> Table:
    """A row per model, a column per data set, and the mean; the primary metric. mean_of_one: also of one data set."""
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    cells = {(row.model, row.dataset): row for row in rows if row.metric == metric and row.dataset != MEAN}
    cells |= {(row.model, MEAN): row for row in figures.mean_rows(rows, metric)}
    data_sets = list(dict.fromkeys(name for _, name in cells))
    if len(data_sets) == 2 and MEAN in data_sets and not mean_of_one:
        data_sets.remove(MEAN)
    models = evaluated.order(model for model, _ in cells)
    caption = f"{metric_label(metric)}{_in_unit(metric)}; best of each column in bold, nulls aside"
    if left_out := evaluated.left_out(task):
        caption += f"; not in the mean: {', '.join(left_out)}"
    columns = {name: {model: cells.get((model, name)) for model in models} for name in data_sets}
    return _table(evaluated, ["", *data_sets], models, list(columns.values()), lower_is_better(task), caption)


def metric_table(evaluated: Evaluated, task: str) -> Table | None:
    """A row per model, a column per metric that no detail shows; means over the data sets. None where one is all."""
    rows = [row for row in evaluated.of_task(task) if row.modality == MEAN]
    is_detailed = TASKS[task].detailed if task in TASKS else lambda metric: False
    metrics = [name for name in dict.fromkeys(row.metric for row in rows) if not is_detailed(name)]
    if len(metrics) < 2:
        return None
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
) -> Table:
    best = [_best(column, lower) for column in columns]
    rows = [
        Row(
            model,
            [_cell(column.get(model), top) for column, top in zip(columns, best, strict=True)],
            evaluated.row_kind(model),
        )
        for model in models
    ]
    return Table(heads, rows, caption)


def _best(column: Mapping[str, Result | None], lower: Sequence[str]) -> float | None:
    found = [row for model, row in column.items() if row is not None and model not in NULLS]
    if not found:
        return None
    return (min if found[0].metric in lower else max)(row.value for row in found)


def _cell(row: Result | None, best: float | None) -> Cell:
    if row is None:
        return Cell(MISSING, title="not measured")
    scale = scale_of(row.metric)
    mark = MARK if UNCLEARED in row.note else ""
    title = f"{bounds(row)} n = {row.n:,}".strip()
    is_best = row.value == best and row.model not in NULLS
    return Cell(scale.value(row.value) + mark, "best" if is_best else "", title=title)


def _means(evaluated: Evaluated, task: str, mine: Sequence[Result]) -> Figure | None:
    means = {row.model: row for row in mine if row.modality == MEAN}
    if not means:
        return None
    drawn = figures.means_plot([means[name] for name in evaluated.order(means)], evaluated.main, evaluated.teachers)
    says = f"{metric_label(mine[0].metric)}, mean over the data sets with intervals: {_range(means)}"
    return Figure(f"{task}-means", drawn, says)


def _modality_table(evaluated: Evaluated, task: str, mine: Sequence[Result]) -> Table | None:
    metric = mine[0].metric
    table = by_modality(mine, task, metric)
    modalities = several_modalities(table)
    if not modalities or all(row.modality != MEAN for row in mine):
        return None
    columns = [{model: table[model].get(name) for model in table} for name in [*modalities, MEAN]]
    caption = f"{metric_label(metric)}{_in_unit(metric)} by modality"
    return _table(evaluated, ["", *modalities, MEAN], evaluated.order(table), columns, lower_is_better(task), caption)


def _radar(evaluated: Evaluated, task: str, mine: Sequence[Result]) -> Figure | None:
    metric = mine[0].metric
    table = by_modality(mine, task, metric)
    modalities = several_modalities(table)
    if len(modalities) < RADAR_LEAST or evaluated.main not in table:
        return None
    means = {name: rows[MEAN].value for name, rows in table.items() if MEAN in rows}
    best = sorted(evaluated.rivals(means), key=lambda name: means[name], reverse=metric not in lower_is_better(task))
    shown = [evaluated.main, *best[:3], *(name for name in NULLS[1:2] if name in table)]
    values = {name: {m: table[name][m].value for m in modalities if m in table[name]} for name in shown}
    drawn = figures.radar_plot(values, modalities, evaluated.main, scale_of(metric))
    says = f"{metric_label(metric)} by modality: {evaluated.named}, the best {min(3, len(best))} others on average"
    null = ", and what colours and sizes alone reach" if NULLS[1] in table else ""
    return Figure(f"{task}-radar", drawn, f"{says}{null}. The axis need not start at zero.")


def _notes(rows: Sequence[Result]) -> Table | None:
    """Warnings of the data sets and choices made on them, each once."""
    noted = dict.fromkeys(
        (row.dataset, row.model if row.model == BEST_TEACHER else "", note)
        for row in rows
        if (note := _of_the_data(row.note)) and row.dataset != MEAN and not note.startswith(UNCLEARED)
    )
    return text_table(["data set", "model", "note"], list(noted)) if noted else None


def _of_the_data(note: str) -> str:
    """Without what stands beside the number itself."""
    return "; ".join(part for part in note.split("; ") if not part.startswith(ALIKE))


def _range(means: Mapping[str, Result]) -> str:
    low, high = (choose(means.values(), key=lambda row: row.value) for choose in (min, max))
    scale = scale_of(low.metric)
    return f"from {scale.value(low.value)} ({low.model}) to {scale.value(high.value)} ({high.model})."


def _in_unit(metric: str) -> str:
    unit = scale_of(metric).unit.strip()
    return f", {unit}" if unit else ""
