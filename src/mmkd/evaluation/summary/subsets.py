"""The same metrics on parts of a data set: subgroups, and what no training image lies near; N samples, K of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predictions
from mmkd.evaluation.format.results import CLEAN, GAP
from mmkd.evaluation.summary.scores import Estimate, Estimates, Resampling, Scores, direction, score_subset
from mmkd.evaluation.tasks.task import Task
from mmkd.statistics.metrics import Array

LEAST = 20  # samples of a subgroup: with fewer, intervals say nothing


@dataclass(frozen=True)
class Parts:
    """scores: of every subset with numbers. gaps: between a column's best and worst subgroup. left_out: the others, and
    why."""

    scores: list[Scores]
    gaps: list[Scores]
    left_out: list[str]


def subgroups(task: Task[Any], predictions: Mapping[str, Predictions], resampling: Resampling) -> Parts:
    """Every value of every subgroup column that `LEAST` samples have, on draws of its own. An empty value is none."""
    parts = Parts([], [], [])
    for column, value_N in next(iter(predictions.values())).subgroups().items():
        values = [value for value in dict.fromkeys(sorted(value_N.tolist())) if value]
        few = [value for value in values if np.count_nonzero(value_N == value) < LEAST]
        if few:
            parts.left_out.append(f"{column}: {len(few)} of {len(values)} values have fewer than {LEAST} samples")
        of_column = {}
        for value in values:
            if value not in few:
                found = part(task, predictions, value_N == value, resampling, f"{column}={value}")
                if isinstance(found, Scores):
                    of_column[value] = found
                else:
                    parts.left_out.append(found)
        parts.scores.extend(of_column.values())
        if len(of_column) > 1:
            parts.gaps.append(_gap(of_column, task, column))
    return parts


def part(
    task: Task[Any], predictions: Mapping[str, Predictions], keep_N: Array, resampling: Resampling, subset: str
) -> Scores | str:
    """The metrics that are defined on the samples of a subset, or in words why none is."""
    if not keep_N.any():
        return f"{subset}: no samples"
    kept = {model: of_rows(predicted, np.flatnonzero(keep_N)) for model, predicted in predictions.items()}
    try:
        scores = score_subset(task, kept, resampling, subset)
    except DataError as error:
        return f"{subset}: {error}"
    defined: Estimates = {
        model: {name: estimate for name, estimate in metrics.items() if np.isfinite(estimate.value)}
        for model, metrics in scores.estimates.items()
    }
    common = set.intersection(*(set(metrics) for metrics in defined.values()))
    if not common:
        return f"{subset}: no metric is defined on its {np.count_nonzero(keep_N)} samples"
    return replace(scores, estimates=_only(defined, common))


def of_rows(predictions: Predictions, row_K: Array) -> Predictions:
    """The predictions of K samples, in the order of their rows."""
    return replace(
        predictions,
        id=[predictions.id[row] for row in row_K],
        group=[predictions.group[row] for row in row_K],
        columns={name: value_N[row_K] for name, value_N in predictions.columns.items()},
    )


def clean(
    task: Task[Any],
    predictions: Mapping[str, Predictions],
    whole: Scores,
    leaked: Collection[str],
    resampling: Resampling,
) -> Scores | str:
    """The scores without leaked samples; where none is leaked, those of the whole data set."""
    keep_N = np.array([name not in leaked for name in next(iter(predictions.values())).id])
    if keep_N.all():
        return replace(whole, subset=CLEAN)
    return part(task, predictions, keep_N, resampling, CLEAN)


def _only(estimates: Estimates, metrics: Collection[str]) -> Estimates:
    return {
        model: {name: estimate for name, estimate in found.items() if name in metrics}
        for model, found in estimates.items()
    }


def _gap(of_value: Mapping[str, Scores], task: Task[Any], column: str) -> Scores:
    """For every model and metric, how much better the best subgroup is than the worst, never below zero.

    Which ones these are is decided on the samples as they are and kept under all replicates, so the interval is around
    the value, but does not know that they were picked.
    """
    first = next(iter(of_value.values()))
    estimates: dict[str, dict[str, Estimate]] = {}
    for model, metrics in first.estimates.items():
        shared = [name for name in metrics if all(name in scores.estimates[model] for scores in of_value.values())]
        estimates[model] = {name: _distance(of_value, task, model, name) for name in shared}
    fewest = min(of_value.values(), key=lambda scores: scores.units)
    return replace(fewest, estimates=estimates, subset=f"{column}={GAP}")


def _distance(of_value: Mapping[str, Scores], task: Task[Any], model: str, metric: str) -> Estimate:
    sign = direction(task, metric)
    found = {value: scores.estimates[model][metric] for value, scores in of_value.items()}
    order = sorted(found, key=lambda value: sign * found[value].value)
    worst, best = found[order[0]], found[order[-1]]
    return Estimate(
        value=sign * (best.value - worst.value),
        replicate_B=sign * (best.replicate_B - worst.replicate_B),
        n=best.n + worst.n,
        note=f"best {order[-1]}, worst {order[0]}",
    )
