"""The scores of one data set: of all samples, of subsets, and how far subgroups are apart."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmkd.evaluation.format.predictions import Predictions
from mmkd.evaluation.summary.corruption_errors import with_baseline
from mmkd.evaluation.summary.scores import Resampling, Scores, deciding_metric, score, with_best_teacher, with_note
from mmkd.evaluation.summary.subsets import clean, subgroups
from mmkd.evaluation.tasks.task import Task

LeakedSamples = Callable[[str], Collection[str]]
"""Data set -> ids of its samples that lie near training images."""


@dataclass(frozen=True)
class Plan:
    """Arguments of `results_from_predictions`. family_of: data set -> its family, see `families`."""

    models: Sequence[str]
    teachers: Sequence[str]
    resampling: Resampling
    family_of: Mapping[str, str]
    leaked: LeakedSamples
    corruption_baseline: str


@dataclass(frozen=True)
class Scored:
    """One data set: all of its samples, subsets of them, and the distances between subgroups.

    leaked: whether samples near training images were found; clean: the scores without them, None where nothing is
    left to be measured.
    """

    whole: Scores
    leaked: bool
    clean: Scores | None
    subgroups: list[Scores]
    gaps: list[Scores]


def scored_of(task: Task[Any], predictions: Mapping[str, Predictions], plan: Plan) -> Scored:
    """Raises DataError where a metric of all samples is not defined."""
    measured = with_baseline(score(task, predictions, plan.resampling), plan.corruption_baseline)
    whole = with_best_teacher(measured, plan.teachers, task)
    leaked = plan.leaked(whole.facts.dataset)
    parts = subgroups(task, predictions, plan.resampling)
    cleaned = clean(task, predictions, whole, leaked, plan.resampling)
    left_out = parts.left_out + ([cleaned] if isinstance(cleaned, str) else [])
    for model in whole.estimates if left_out else ():
        whole = with_note(whole, model, deciding_metric(whole, task), f"without rows: {'; '.join(left_out)}")
    return Scored(
        whole=whole,
        leaked=bool(leaked),
        clean=None if isinstance(cleaned, str) else with_best_teacher(cleaned, plan.teachers, task),
        subgroups=[with_best_teacher(one, plan.teachers, task) for one in parts.scores],
        gaps=parts.gaps,
    )
