"""All models over the data sets of a task, as a critical-difference diagram shows them; S data sets, Q models."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmkd.evaluation.format.results import BEST_TEACHER, NULLS, Ranking
from mmkd.evaluation.summary.means import everywhere
from mmkd.evaluation.summary.scores import Scores, direction
from mmkd.evaluation.tasks.task import Task
from mmkd.statistics.across_sets import critical_difference, pairwise_signed_ranks

ENOUGH_SETS = 3
ENOUGH_MODELS = 2
DIGITS = 12  # values that differ by rounding alone are ties


def rankings(by_data_set: Sequence[Scores], task: Task[Any], confidence: float) -> Iterator[Ranking]:
    """The ranking by the primary metric over the data sets that have it; nothing for fewer than three, or two models.

    It has the models that were evaluated on all of these data sets, without the null models and without `best_teacher`,
    which is a choice and no model.
    """
    having = [scores for scores in by_data_set if _has(scores, task.primary)]
    if len(having) < ENOUGH_SETS:
        return
    models = [model for model in everywhere(having) if model not in (*NULLS, BEST_TEACHER)]
    if len(models) < ENOUGH_MODELS:
        return
    value_SQ = np.array([[scores.estimates[model][task.primary].value for model in models] for scores in having])
    score_SQ = np.round(direction(task, task.primary) * value_SQ, DIGITS)
    found = critical_difference(score_SQ, confidence)
    order = np.argsort(found.mean_rank_Q, kind="stable")
    yield Ranking(
        task=having[0].facts.task,
        metric=task.primary,
        models=[models[place] for place in order],
        data_sets=len(having),
        mean_ranks=found.mean_rank_Q[order].tolist(),
        statistic=found.statistic,
        p=found.p,
        difference=found.difference,
        alike=[[models[place] for place in group] for group in found.alike],
        p_signed_rank=pairwise_signed_ranks(score_SQ)[np.ix_(order, order)].tolist(),
    )


def _has(scores: Scores, metric: str) -> bool:
    return all(metric in metrics for metrics in scores.estimates.values())
