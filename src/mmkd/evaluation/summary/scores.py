"""The metrics of all models on one data set, as they are and on every bootstrap replicate.

B replicates, N samples. The draws of a data set depend on the seed and its name only, so every model is measured on the
same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import PredictionFacts, Predictions
from mmkd.evaluation.format.results import ALL, BEST_TEACHER, NULLS, UNCLEARED
from mmkd.evaluation.summary.intervals import bounds_of
from mmkd.evaluation.tasks.classes import is_multi_label
from mmkd.evaluation.tasks.task import Task
from mmkd.randomness import Purpose, seed_of
from mmkd.statistics.bootstrap import Draws, percentile_interval, plan_draws, replicate
from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class Resampling:
    """How intervals are made, and of how many groups one counts in a mean; see `EvaluateSettings`. replicated: the
    replicates' metrics, in place of what is computed here; of none, an estimate has no replicates."""

    replicates: int
    confidence: float
    seed: int
    replicated: "Replicated | None" = None
    least_groups: int = 1


Replicates = dict[tuple[str, str], Array]
"""(model, metric) -> (B,)."""


class Replicated(Protocol):
    """Gives the replicates of a data set or a subset of it. name: of the draws."""

    def __call__(
        self, name: str, task: Task[Any], predictions: Mapping[str, Predictions], draws: Draws
    ) -> Replicates: ...


@dataclass(frozen=True)
class Estimate:
    """A metric on the samples as they are, and on every replicate. n: samples. units: independent ones (groups, or
    samples without one) of which the metric is a share, see `Task.shares`; 0 where it is none."""

    value: float
    replicate_B: Array
    n: int
    note: str = ""
    units: int = 0


Estimates = Mapping[str, Mapping[str, Estimate]]
"""model -> metric -> estimate."""


@dataclass(frozen=True)
class Scores:
    """All models on one data set, on a subset of it, or their mean over several data sets.

    facts: its `model` is that of no model in particular. draws: what replicates draw, in words; units: how many of it
    there are, of a mean those of all its data sets. stands_for: who `best_teacher` is on this data set. is_counted:
    whether the units are enough for a mean.
    """

    facts: PredictionFacts
    draws: str
    units: int
    estimates: Estimates
    subset: str = ALL
    stands_for: Mapping[str, str] = field(default_factory=dict)
    is_counted: bool = True


def score(task: Task[Any], predictions: Mapping[str, Predictions], resampling: Resampling) -> Scores:
    """The models' metrics on one data set, all on the same draws.

    Raises DataError that names data set, task and model where a metric is not defined or a number is not finite.
    """
    scores = score_subset(task, predictions, resampling, ALL)
    for model, metrics in scores.estimates.items():
        if undefined := [name for name, estimate in metrics.items() if not np.isfinite(estimate.value)]:
            raise DataError(
                f"{_where(predictions[model])}: {', '.join(undefined)} not defined: {_why(task, predictions)}"
            )
    return scores


def score_subset(
    task: Task[Any], predictions: Mapping[str, Predictions], resampling: Resampling, subset: str
) -> Scores:
    """As `score`, but a metric that is not defined is NaN. predictions: of the subset's samples alone."""
    first = next(iter(predictions.values()))
    name = f"{first.facts.task}/{first.facts.dataset}" + ("" if subset == ALL else f"/{subset}")
    seed = (seed_of(resampling.seed, Purpose.BOOTSTRAP, name),)
    draws = plan_draws(first.group, task.labels(first.columns), resampling.replicates, seed)
    once_1N = np.ones((1, len(first.id)), np.uint16)
    units = dict.fromkeys(() if is_multi_label(first.columns) else task.shares, draws.units)
    estimates: dict[str, dict[str, Estimate]] = {}
    for model, predicted in predictions.items():
        with _naming(predicted):
            plain = task.measure(predicted.columns, once_1N)
        estimates[model] = {
            metric: Estimate(
                float(value_1[0]), np.empty(0), len(first.id), predicted.facts.warning, units.get(metric, 0)
            )
            for metric, value_1 in plain.items()
        }
    found = resampling.replicated or replicates_of
    for (model, metric), value_B in found(name, task, predictions, draws).items():
        estimates[model][metric] = replace(estimates[model][metric], replicate_B=value_B)
    is_counted = draws.units >= resampling.least_groups
    return Scores(first.facts, draws.words, draws.units, estimates, subset, is_counted=is_counted)


def replicates_of(
    name: str, task: Task[Any], predictions: Mapping[str, Predictions], draws: Draws, only: slice = slice(None)
) -> Replicates:
    """Every block of draws is made once and shown to all models. only: of the blocks, see `bootstrap.replicate`."""

    def measure(weight_BN: Array) -> Replicates:
        found: Replicates = {}
        for model, predicted in predictions.items():
            with _naming(predicted):
                found |= {
                    (model, name): value_B for name, value_B in task.measure(predicted.columns, weight_BN).items()
                }
        return found

    return replicate(measure, draws, only)


def _where(predictions: Predictions) -> str:
    facts = predictions.facts
    return f"{facts.dataset}, {facts.task}, {facts.model}"


@contextmanager
def _naming(predictions: Predictions) -> Iterator[None]:
    """Complaints of a metric, with the place of its numbers."""
    try:
        yield
    except (ValueError, DataError) as error:
        raise DataError(f"{_where(predictions)}: {error}; mend the data or evaluate again") from error


def _why(task: Task[Any], predictions: Mapping[str, Predictions]) -> str:
    label_N = task.labels(next(iter(predictions.values())).columns)
    if label_N is None:
        return "a class has no sample, or no sample without it; add samples or take the class off the card"
    places, counts = np.unique(label_N, return_counts=True)
    found = ", ".join(
        f"{count} of class {place}" for place, count in zip(places.tolist(), counts.tolist(), strict=True)
    )
    return (
        f"a class has no sample, or all samples are of one class (found {found}); add samples or take it off the card"
    )


def deciding_metric(scores: Scores, task: Task[Any]) -> str:
    """The task's primary metric where all models have it; else (multi-label cards) the first one that all have."""
    metrics = [name for name in next(iter(scores.estimates.values())) if all_have(scores, name)]
    if not metrics:
        raise DataError(
            f"{scores.facts.dataset}, {scores.facts.task}: no metric that all of {', '.join(scores.estimates)} have; "
            "evaluate again"
        )
    return task.primary if task.primary in metrics else metrics[0]


def all_have(scores: Scores, metric: str) -> bool:
    return all(metric in metrics for metrics in scores.estimates.values())


def direction(task: Task[Any], metric: str) -> int:
    """1 where higher is better, else -1."""
    return -1 if metric in task.lower_is_better else 1


def with_best_teacher(scores: Scores, teachers: Sequence[str], task: Task[Any]) -> Scores:
    """The scores with `best_teacher` added: the teacher that is best on this very data set by its deciding metric.

    Chosen on the test data, it flatters the teachers; a student that reaches it needs no such choice. The first of
    several equal teachers is taken. Without teachers nothing is added.
    """
    present = [model for model in teachers if model in scores.estimates]
    if not present:
        return scores
    metric = deciding_metric(scores, task)
    best = max(present, key=lambda model: direction(task, metric) * scores.estimates[model][metric].value)
    chosen = {
        name: noted(estimate, f"{best}, chosen by {metric} on the test data", first=True)
        for name, estimate in scores.estimates[best].items()
    }
    return replace(scores, estimates={**scores.estimates, BEST_TEACHER: chosen}, stands_for={BEST_TEACHER: best})


def noted(estimate: Estimate, note: str, first: bool = False) -> Estimate:
    notes = (note, estimate.note) if first else (estimate.note, note)
    return replace(estimate, note="; ".join(part for part in notes if part))


def with_note(scores: Scores, model: str, metric: str, note: str) -> Scores:
    changed = {**scores.estimates[model], metric: noted(scores.estimates[model][metric], note)}
    return replace(scores, estimates={**scores.estimates, model: changed})


def with_null_notes(scores: Scores, task: Task[Any], confidence: float) -> Scores:
    """A note on the deciding metric of each model whose paired difference to the best null has an interval that does
    not lie above zero. The best null is the one that scores highest on these very samples."""
    metric, nulls = deciding_metric(scores, task), [model for model in scores.estimates if model in NULLS]
    if not nulls:
        return scores
    sign = direction(task, metric)
    best = max(nulls, key=lambda model: sign * scores.estimates[model][metric].value)
    null = scores.estimates[best][metric]
    for model in [model for model in scores.estimates if model not in NULLS]:
        low = _gain_at_least(scores.estimates[model][metric], null, sign, confidence)
        if low is None or low <= 0:
            scores = with_note(scores, model, metric, f"{UNCLEARED}: {best} {null.value:.2f}")
    return scores


def _gain_at_least(estimate: Estimate, null: Estimate, sign: int, confidence: float) -> float | None:
    """The lower bound of the paired difference. Where all replicates are alike they say nothing of it, and it is the
    lower bound of the model's own exact interval, less the null's value."""
    gain = percentile_interval(sign * (estimate.replicate_B - null.replicate_B), confidence)
    if not gain.is_alike:
        return gain.low
    own = bounds_of(estimate.value, estimate.replicate_B, estimate.units, confidence)
    return own.low - null.value if own.is_exact and own.low is not None else None
