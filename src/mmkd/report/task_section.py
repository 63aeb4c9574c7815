"""Everything about one task: the means with their nulls, every data set, every metric, and who is ahead of whom."""

from collections.abc import Iterator, Mapping, Sequence

from mmkd.evaluation.results import (
    BEST_TEACHER,
    MEAN,
    UNCLEARED,
    Comparison,
    Result,
    by_modality,
    metric_label,
    several_modalities,
)
from mmkd.evaluation.settings import NULLS
from mmkd.evaluation.tasks.table import TASKS
from mmkd.report import figures, markup
from mmkd.report.details import details
from mmkd.report.markup import Cell, Line
from mmkd.report.numbers import MISSING, gain, p_text, scale_of
from mmkd.report.source import Evaluated, lower_is_better, primary_metric, task_title
from mmkd.report.summary import primary_comparisons

MARK = "†"
MOST_LINES = 80  # more do not make a forest plot that can be read
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
    yield from _differences(evaluated, task)
    yield from _ranking(evaluated, task)
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
    yield markup.figure(
        f"{task}-radar", drawn, says + (", and what colours and sizes alone reach." if NULLS[1] in table else ".")
    )


def _differences(evaluated: Evaluated, task: str) -> Iterator[str]:
    rows = primary_comparisons(evaluated, task)
    overall = {row.rival: row for row in rows if row.modality == MEAN}
    if not rows:
        return
    yield markup.heading(3, f"What {evaluated.named} gains on the others in {metric_label(rows[0].metric)}")
    if overall:
        ordered = [overall[name] for name in evaluated.order(overall)]
        models = [row for row in ordered if row.rival not in NULLS]
        if models:  # nulls lie far away and would press the others together; they stand in the table
            drawn = figures.rivals_figure(models, evaluated.main, evaluated.teachers)
            yield markup.figure(f"{task}-gains", drawn, "Mean over the data sets, paired differences with intervals.")
        yield _gains_table(ordered, {row.rival: row for row in evaluated.in_general if row.task == task})
    yield from _forest(evaluated, task, rows)
    single = [row for row in rows if row.dataset != MEAN and row.rival not in NULLS]
    if single:
        heads = ["data set", "against", "difference", "p", "p, Holm", "exact test"]
        cells = [[row.dataset, row.rival, gain(row), p_text(row.p), *_adjusted(row)] for row in single]
        yield markup.folded("Tests on every data set", [markup.text_table(heads, cells)])


def _gains_table(rows: Sequence[Comparison], in_general: Mapping[str, Comparison]) -> str:
    """In general: with the interval that speaks for other data sets like these, where one was made."""
    cells = [[row.rival, gain(row), p_text(row.p)] for row in rows]
    if not in_general:
        return markup.text_table(["", "on these data sets", "p"], cells)
    general = [in_general.get(row.rival) for row in rows]
    told = [["", ""] if row is None else [gain(row), p_text(row.p)] for row in general]
    heads = ["", "on these data sets", "p", "on data sets like these", "p"]
    return markup.text_table(heads, [[*mine, *other] for mine, other in zip(cells, told, strict=True)])


def _forest(evaluated: Evaluated, task: str, rows: Sequence[Comparison]) -> Iterator[str]:
    """Every data set and the means, against the strongest rival and the best teacher of each data set."""
    modalities = {row.modality for row in rows if row.dataset != MEAN}
    shown = [name for name in (_strongest(evaluated, task), BEST_TEACHER) if name]
    groups = {
        _group_name(name, modality): found
        for name, modality in dict.fromkeys((row.dataset, row.modality) for row in rows)
        if (name != MEAN or modality == MEAN or len(modalities) > 1)
        and (found := [row for row in rows if (row.dataset, row.modality) == (name, modality) and row.rival in shown])
    }
    if 2 < len(groups) <= MOST_LINES:
        emphasised = [name for name in groups if name.startswith("mean")]
        drawn = figures.forest_figure(groups, evaluated.main, evaluated.teachers, emphasised)
        says = f"Each data set: {evaluated.named} against {' and '.join(shown)}, paired differences with intervals."
        yield markup.figure(f"{task}-forest", drawn, says)


def _adjusted(row: Comparison) -> list[str]:
    holm = "" if row.p_holm is None else p_text(row.p_holm)
    return [holm, "" if row.p_exact is None else f"{row.exact}, {p_text(row.p_exact)}"]


def _group_name(dataset: str, modality: str) -> str:
    if dataset != MEAN:
        return dataset
    return "mean of all" if modality == MEAN else f"mean, {modality}"


def _strongest(evaluated: Evaluated, task: str) -> str | None:
    """The single rival with the best mean."""
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    means = {row.model: row.value for row in figures.mean_rows(rows, metric)}
    choose = min if metric in lower_is_better(task) else max
    return choose(evaluated.rivals(means), key=lambda name: means[name], default=None)


def _ranking(evaluated: Evaluated, task: str) -> Iterator[str]:
    for ranking in evaluated.rankings:
        if ranking.task == task and len(ranking.models) > 1:
            yield markup.heading(3, "Ranks over the data sets")
            drawn = figures.critical_difference_figure(ranking, evaluated.main, evaluated.teachers)
            says = (
                f"Mean rank in {metric_label(ranking.metric)} over {ranking.data_sets} data sets; a bar joins models "
                f"that they do not tell apart (Nemenyi; Friedman {p_text(ranking.p)})."
            )
            yield markup.figure(f"{task}-ranks", drawn, says)


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
