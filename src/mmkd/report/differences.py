"""Who is ahead of whom in one task: differences on average and on every data set, and ranks over the data sets."""

from collections.abc import Iterator, Mapping, Sequence

from mmkd.evaluation.format.results import BEST_TEACHER, MEAN, NULLS, Comparison, metric_label
from mmkd.report import figures, markup
from mmkd.report.numbers import gain, p_text
from mmkd.report.source import Evaluated, lower_is_better, primary_metric
from mmkd.report.summary import primary_comparisons

MOST_LINES = 80  # more do not make a forest plot that can be read


def differences(evaluated: Evaluated, task: str) -> Iterator[str]:
    """The main model minus every other: means, every data set, tests."""
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


def ranks(evaluated: Evaluated, task: str) -> Iterator[str]:
    """The critical-difference diagram, where there are data sets enough for one."""
    for ranking in evaluated.rankings:
        if ranking.task == task and len(ranking.models) > 1:
            yield markup.heading(3, "Ranks over the data sets")
            drawn = figures.critical_difference_figure(ranking, evaluated.main, evaluated.teachers)
            says = (
                f"Mean rank in {metric_label(ranking.metric)} over {ranking.data_sets} data sets; a bar joins models "
                f"that they do not tell apart (Nemenyi; Friedman {p_text(ranking.p)})."
            )
            yield markup.figure(f"{task}-ranks", drawn, says)
