"""Accuracy on corrupted pictures: by family as a table, by severity as a figure."""

from collections.abc import Iterator, Mapping

import numpy as np

from mmkd.evaluation.corruptions.families import FAMILIES, SEVERITIES
from mmkd.evaluation.format.numbers import MISSING, PERCENT, gain
from mmkd.evaluation.format.results import MEAN, NULLS
from mmkd.evaluation.tasks.robustness import ACCURACY_AT, CLEAN_ACCURACY, PRIMARY, SEVERITY_AT
from mmkd.report import curves
from mmkd.report.differences import strongest
from mmkd.report.plot import Figure
from mmkd.report.source import Evaluated
from mmkd.report.view import Cell, Row, Table

Values = Mapping[str, Mapping[str, list[float]]]
"""Metric -> model -> its value on each data set that has the metric and that means count."""


def by_family(evaluated: Evaluated, task: str) -> Table:
    """A row for clean pictures, for each family and for all of them; a column per model, and the main model minus the
    strongest single rival where all data sets have the family."""
    found = _values(evaluated, task)
    models = [model for model in evaluated.order(found[PRIMARY]) if model not in NULLS]
    rival = strongest(evaluated, task)
    rows = [
        Row(name, [*_cells(found[metric], models), _difference(evaluated, task, metric, rival)])
        for name, metric in _shown(found)
    ]
    against = f"{evaluated.main} - {rival}" if rival else "difference"
    caption = "accuracy, %: mean over the severities, and over the data sets that have the family; best in bold"
    return Table(["", *models, against], rows, caption)


def by_severity(evaluated: Evaluated, task: str) -> Figure:
    """A line per model from clean pictures, severity 0, to severity 5."""
    found = _values(evaluated, task)
    metrics = [CLEAN_ACCURACY, *(f"{SEVERITY_AT}{severity}" for severity in SEVERITIES)]
    lines = {
        model: [(float(place), float(np.mean(found[metric][model]))) for place, metric in enumerate(metrics)]
        for model in evaluated.order(found[PRIMARY])
    }
    says = (
        "Accuracy by severity, mean over families and data sets; 0 is the clean picture. The axis need not start at 0."
    )
    return Figure(f"{task}-severity", curves.severity_plot(lines, evaluated.main, evaluated.teachers), says)


def _values(evaluated: Evaluated, task: str) -> Values:
    found: dict[str, dict[str, list[float]]] = {}
    for row in evaluated.of_task(task):
        if row.dataset != MEAN and row.is_counted:
            found.setdefault(row.metric, {}).setdefault(row.model, []).append(row.value)
    return found


def _shown(found: Values) -> Iterator[tuple[str, str]]:
    yield "clean", CLEAN_ACCURACY
    yield from ((one.replace("_", " "), f"{ACCURACY_AT}{one}") for one in FAMILIES if f"{ACCURACY_AT}{one}" in found)
    yield "all families", PRIMARY


def _cells(of_model: Mapping[str, list[float]], models: list[str]) -> list[Cell]:
    """Models that miss a data set have none: their mean would be of others."""
    most = max(len(values) for values in of_model.values())
    means = {model: float(np.mean(values)) for model, values in of_model.items() if len(values) == most}
    best = max(means[model] for model in models if model in means)
    return [
        Cell(PERCENT.value(means.get(model)), "best" if means.get(model) == best else "", title=f"{most} data sets")
        for model in models
    ]


def _difference(evaluated: Evaluated, task: str, metric: str, rival: str | None) -> Cell:
    wanted = (task, metric, evaluated.main, rival, MEAN, MEAN)
    for row in evaluated.comparisons:
        if (row.task, row.metric, row.model, row.rival, row.dataset, row.modality) == wanted:
            return Cell(gain(row))
    return Cell(MISSING, title="not on all data sets")
