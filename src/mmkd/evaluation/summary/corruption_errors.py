"""Errors on corrupted pictures relative to a baseline model's: MedMNIST-C's BE and rBE; B replicates."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mmkd.evaluation.summary.scores import Estimate, Scores
from mmkd.evaluation.tasks.robustness import CLEAN_ERROR, ERROR_AT, MEAN_ERROR, NAME, RELATIVE_ERROR
from mmkd.statistics.metrics import Array, ratio

Errors = Mapping[str, Array]
"""Name of a balanced error -> its values."""


def with_baseline(scores: Scores, baseline: str) -> Scores:
    """The scores of a data set of the task `robustness`, with two metrics more for each model where they are defined.

    With E of a family for the balanced error averaged over its severities, and ' for the baseline's:
    mean_corruption_error = mean over families of E / E', relative_corruption_error = mean over families of
    (E - clean) / (E' - clean'). The baseline has 1 of both, and lower is better. Both are left out for all models where
    one of them has no number: the baseline makes no error in a family, or none more than on clean pictures.
    """
    theirs = scores.estimates.get(baseline, {})
    if scores.facts.task != NAME or CLEAN_ERROR not in theirs:
        return scores
    families = [name for name in theirs if name.startswith(ERROR_AT)]
    added: dict[str, dict[str, Estimate]] = {}
    for metric, measure in ((MEAN_ERROR, _mean_error), (RELATIVE_ERROR, _relative_error)):
        found = {model: _estimate(own, theirs, families, measure) for model, own in scores.estimates.items()}
        if all(np.isfinite(estimate.value) for estimate in found.values()):
            for model, estimate in found.items():
                added.setdefault(model, {})[metric] = replace(estimate, note=f"relative to {baseline}")
    together = {model: {**own, **added.get(model, {})} for model, own in scores.estimates.items()}
    return replace(scores, estimates=together)


def _estimate(
    mine: Mapping[str, Estimate],
    theirs: Mapping[str, Estimate],
    families: list[str],
    measure: Callable[[Errors, Errors, list[str]], Array],
) -> Estimate:
    names = [CLEAN_ERROR, *families]
    of_points = [{name: np.array([own[name].value]) for name in names} for own in (mine, theirs)]
    of_draws = [{name: own[name].replicate_B for name in names} for own in (mine, theirs)]
    value_1 = measure(of_points[0], of_points[1], families)
    return Estimate(float(value_1[0]), measure(of_draws[0], of_draws[1], families), mine[CLEAN_ERROR].n)


def _mean_error(mine: Errors, theirs: Errors, families: list[str]) -> Array:
    return np.asarray(np.mean([ratio(mine[name], theirs[name]) for name in families], axis=0))


def _relative_error(mine: Errors, theirs: Errors, families: list[str]) -> Array:
    above = [(mine[name] - mine[CLEAN_ERROR], theirs[name] - theirs[CLEAN_ERROR]) for name in families]
    return np.asarray(np.mean([ratio(own, other) for own, other in above], axis=0))
