"""One model against every other: paired differences, tests, and their number taken into account; N samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

import numpy as np

from mmkd.evaluation.format.predictions import Predictions
from mmkd.evaluation.format.results import ALIKE, ALL, MEAN, Comparison, in_order
from mmkd.evaluation.summary.scores import Scores
from mmkd.evaluation.tasks.task import Task
from mmkd.statistics.across_sets import holm
from mmkd.statistics.bootstrap import ROUNDING, percentile_interval, two_sided_p
from mmkd.statistics.paired import delong_macro_test, mcnemar

SIGNIFICANT = 0.05  # the level that tables and notices speak of
TOO_FEW = 2  # samples of a class, below which DeLong's test has no variance to go by


def comparisons(scores: Scores, model: str, teachers: Sequence[str], confidence: float) -> Iterator[Comparison]:
    """The model minus each other one, every metric that both have; nothing where it was not evaluated."""
    for rival in in_order(scores.estimates, teachers):
        if model not in scores.estimates or rival == model:
            continue
        for metric, mine in scores.estimates[model].items():
            if metric not in scores.estimates[rival]:
                continue
            theirs = scores.estimates[rival][metric]
            difference_B = mine.replicate_B - theirs.replicate_B
            interval = percentile_interval(difference_B, confidence)
            is_silent = interval.is_alike and abs(mine.value - theirs.value) > ROUNDING
            yield Comparison(
                model=model,
                rival=rival,
                dataset=scores.facts.dataset,
                modality=scores.facts.modality,
                task=scores.facts.task,
                metric=metric,
                difference=mine.value - theirs.value,
                low=None if is_silent else interval.low,
                high=None if is_silent else interval.high,
                p=two_sided_p(difference_B),
                n=mine.n,
                subset=scores.subset,
                is_counted=scores.is_counted,
                note=f"{ALIKE}: no interval, and no p of the bootstrap" if is_silent else "",
            )


def with_exact_tests(
    rows: Sequence[Comparison], scores: Scores, predictions: Mapping[str, Predictions], task: Task[Any]
) -> list[Comparison]:
    """The comparisons of one data set, with the tests that need no resampling where they are defined."""
    tested: dict[str, dict[str, tuple[str, float]]] = {}
    found = []
    for row in rows:
        if row.rival not in tested:
            rival = predictions[scores.stands_for.get(row.rival, row.rival)]
            tested[row.rival] = exact_tests(task, predictions[row.model], rival)
        name, p = tested[row.rival].get(row.metric, ("", None))
        if row.note and p is not None:
            row = replace(row, p=p, note=f"{ALIKE}: no interval; p is {name}'s")
        found.append(replace(row, exact=name, p_exact=p))
    return found


def of_the_only_set(row: Comparison, single: Sequence[Comparison]) -> Comparison:
    """A comparison whose replicates say nothing, with the p of the data set where its mean is over one alone."""
    counted = [one for one in single if in_family(one) and one.is_counted]
    same = [one for one in counted if (one.rival, one.metric) == (row.rival, row.metric)]
    if not row.note or (row.dataset, row.modality, row.subset) != (MEAN, MEAN, ALL) or len(same) != 1:
        return row
    return replace(row, p=same[0].p, exact=same[0].exact, p_exact=same[0].p_exact, note=same[0].note)


def exact_tests(task: Task[Any], first: Predictions, second: Predictions) -> dict[str, tuple[str, float]]:
    """metric -> name of the test and its p: McNemar's for accuracy, DeLong's for the macro AUC of two classes.

    Nothing where samples are grouped, for they are not independent, or where the task has no scores of classes.
    """
    mine, theirs = task.class_scores(first.columns), task.class_scores(second.columns)
    if mine is None or theirs is None or any(first.group):
        return {}
    correct = [scores.predicted() == scores.label_N for scores in (mine, theirs)]
    found = {"accuracy": ("McNemar", mcnemar(*correct).p_exact)}
    if len(mine.classes) == 2 and np.bincount(mine.label_N, minlength=2).min() >= TOO_FEW:
        p = delong_macro_test(mine.score_NC, theirs.score_NC, mine.label_N).p
        if p is not None:
            found["macro_auc"] = ("DeLong", p)
    return found


def with_holm(rows: Sequence[Comparison], deciding: Mapping[str, str]) -> list[Comparison]:
    """The comparisons of a task, with p adjusted over the family: the deciding metric of every single data set.

    deciding: data set -> its deciding metric.
    """
    family = [number for number, row in enumerate(rows) if in_family(row) and deciding[row.dataset] == row.metric]
    if not family:
        return list(rows)
    adjusted = holm(np.array([rows[number].p for number in family])).tolist()
    of_row = dict(zip(family, adjusted, strict=True))
    return [replace(row, p_holm=of_row.get(number)) for number, row in enumerate(rows)]


def in_family(row: Comparison) -> bool:
    """Whether a comparison is of all samples of a single data set."""
    return row.dataset != MEAN and row.subset == ALL


def floor_notice(rows: Sequence[Comparison], replicates: int) -> str:
    """A warning where no adjusted p of the family can be small, for want of replicates; else ""."""
    family = sum(row.p_holm is not None for row in rows)
    lowest = 2 * family / (replicates + 1)  # see `two_sided_p`
    if lowest <= SIGNIFICANT:
        return ""
    return (
        f"with {replicates:,} replicates and {family} comparisons no p after Holm can fall below {min(1, lowest):.2f}; "
        f"set evaluate.bootstrap to {ceil(2 * family / SIGNIFICANT):,} or more to find differences"
    )
