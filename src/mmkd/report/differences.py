"""Paired differences in one task, on average and on every data set, and ranks over the data sets."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkd.evaluation.format.numbers import gain, metric_label, p_text
from mmkd.evaluation.format.results import BEST_TEACHER, MEAN, NOT_COUNTED, NULLS, Comparison
from mmkd.report import figures
from mmkd.report.plot import Figure
from mmkd.report.source import Evaluated, lower_is_better, primary_metric
from mmkd.report.summary import primary_comparisons
from mmkd.report.view import Table, text_table

MOST_LINES = 80  # more do not make a forest plot that can be read


def differences(evaluated: Evaluated, task: str) -> dict[str, Any] | None:
    """The main model minus every other: means, every data set, tests."""
    rows = primary_comparisons(evaluated, task)
    if not rows:
        return None
    overall = {row.rival: row for row in rows if row.modality == MEAN}
    ordered = [overall[name] for name in evaluated.order(overall)]
    models = {row.rival: [row] for row in ordered if row.rival not in NULLS}  # nulls lie far away and press the others
    drawn = figures.forest_plot(models, evaluated.main, evaluated.teachers) if models else None
    says = "Mean over the data sets, paired differences with intervals."
    return {
        "metric": metric_label(rows[0].metric),
        "named": evaluated.named,
        "gains": drawn and Figure(f"{task}-gains", drawn, says),
        "table": _gains_table(ordered, {row.rival: row for row in evaluated.in_general if row.task == task}),
        "forest": _forest(evaluated, task, rows),
        "tests": _tests([row for row in rows if row.dataset != MEAN and row.rival not in NULLS]),
    }


def _gains_table(rows: Sequence[Comparison], in_general: Mapping[str, Comparison]) -> Table | None:
    """In general: with the interval of a bootstrap that also draws data sets, where one was made."""
    if not rows:
        return None
    cells = [[row.rival, gain(row), p_text(row.p)] for row in rows]
    if not in_general:
        return text_table(["", "on these data sets", "p"], cells)
    general = [in_general.get(row.rival) for row in rows]
    more = [["", ""] if row is None else [gain(row), p_text(row.p)] for row in general]
    heads = ["", "on these data sets", "p", "with data sets resampled", "p"]
    return text_table(heads, [[*mine, *other] for mine, other in zip(cells, more, strict=True)])


def _forest(evaluated: Evaluated, task: str, rows: Sequence[Comparison]) -> Figure | None:
    """Every data set and the means, against the strongest rival and the best teacher of each data set."""
    modalities = {row.modality for row in rows if row.dataset != MEAN and row.is_counted}
    shown = [name for name in (strongest(evaluated, task), BEST_TEACHER) if name]
    groups = {
        _group_name(name, modality, is_counted): found
        for name, modality, is_counted in dict.fromkeys((row.dataset, row.modality, row.is_counted) for row in rows)
        if (name != MEAN or modality == MEAN or len(modalities) > 1)
        and (found := [row for row in rows if (row.dataset, row.modality) == (name, modality) and row.rival in shown])
    }
    if not 2 < len(groups) <= MOST_LINES:
        return None
    emphasised = [name for name in groups if name.startswith("mean")]
    drawn = figures.forest_plot(groups, evaluated.main, evaluated.teachers, emphasised)
    says = f"Each data set: {evaluated.named} against {' and '.join(shown)}, paired differences with intervals."
    return Figure(f"{task}-forest", drawn, says)


def _tests(rows: Sequence[Comparison]) -> Table | None:
    heads = ["data set", "against", "difference", "p", "p, Holm", "exact test"]
    cells = []
    for row in rows:
        holm = "" if row.p_holm is None else p_text(row.p_holm)
        exact = "" if row.p_exact is None else f"{row.exact}, {p_text(row.p_exact)}"
        cells.append([row.dataset, row.rival, gain(row), p_text(row.p), holm, exact])
    return text_table(heads, cells) if cells else None


def _group_name(dataset: str, modality: str, is_counted: bool) -> str:
    if dataset != MEAN:
        return dataset if is_counted else f"{dataset}, {NOT_COUNTED}"
    return "mean of all" if modality == MEAN else f"mean, {modality}"


def strongest(evaluated: Evaluated, task: str) -> str | None:
    """The single rival with the best mean."""
    rows = evaluated.of_task(task)
    metric = primary_metric(rows, task)
    means = {row.model: row.value for row in figures.mean_rows(rows, metric)}
    choose = min if metric in lower_is_better(task) else max
    return choose(evaluated.rivals(means), key=lambda name: means[name], default=None)


def ranks(evaluated: Evaluated, task: str) -> list[Figure]:
    """The critical-difference diagram, where there are data sets enough for one."""
    return [
        Figure(
            f"{task}-ranks",
            figures.critical_difference_plot(ranking, evaluated.main, evaluated.teachers),
            f"Mean rank in {metric_label(ranking.metric)} over {ranking.data_sets} data sets; a bar joins models whose "
            f"ranks do not differ significantly (Nemenyi; Friedman {p_text(ranking.p)}).",
        )
        for ranking in evaluated.rankings
        if ranking.task == task and len(ranking.models) > 1
    ]
