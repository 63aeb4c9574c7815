"""From predictions to results: metrics, intervals and paired differences, without any model.

B bootstrap replicates, N samples. The draws of a data set depend on the seed and its name only, so every model is
measured on the same ones.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.predictions import PredictionFacts, Predictions, predictions_of
from mmkd.evaluation.results import BEST_TEACHER, MEAN, STUDENT, Comparison, Result, in_order
from mmkd.evaluation.statistics.bootstrap import Interval, percentile_interval, plan_draws, replicate, two_sided_p
from mmkd.evaluation.statistics.metrics import Array
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task


@dataclass(frozen=True)
class Estimate:
    """A metric on the samples as they are, and on every replicate."""

    value: float
    replicate_B: Array


@dataclass(frozen=True)
class Scores:
    """All models on one data set, or their mean over several. estimates: model -> metric -> estimate."""

    facts: PredictionFacts  # its `model` is that of no model in particular
    n: int
    draws: str
    estimates: Mapping[str, Mapping[str, Estimate]]
    notes: Mapping[str, str]


@dataclass(frozen=True)
class Resampling:
    """How intervals are made; see `EvaluateSettings`."""

    replicates: int
    confidence: float
    seed: int


def results_from_predictions(
    folder: Path, teachers: Sequence[str], resampling: Resampling
) -> tuple[list[Result], list[Comparison]]:
    """Every row of `results.jsonl` and `comparisons.jsonl` from `folder/predictions`.

    teachers: the models among which `best_teacher` is chosen, in the order of the tables. The student, where it was
    evaluated, is compared with every other model. Raises DataError for damaged or unaligned predictions.
    """
    results: list[Result] = []
    comparisons: list[Comparison] = []
    for name, task in TASKS.items():
        by_data_set = [
            with_best_teacher(score(task, predictions, resampling), teachers, task.primary)
            for predictions in predictions_of(folder, name)
        ]
        for scores in [*by_data_set, *means(by_data_set)]:
            results += _results(scores, teachers, resampling, task.protocol)
            comparisons += _comparisons(scores, teachers, resampling.confidence)
    return results, comparisons


def score(task: Task, predictions: Mapping[str, Predictions], resampling: Resampling) -> Scores:
    """The models' metrics on one data set, all on the same draws. Raises DataError where one is not defined."""
    first = next(iter(predictions.values()))
    key = zlib.crc32(f"{first.facts.task}/{first.facts.dataset}".encode())
    draws = plan_draws(first.group, task.labels(first.columns), resampling.replicates, (resampling.seed, key))

    def measure(weight_BN: Array) -> dict[tuple[str, str], Array]:
        return {
            (model, metric): value_B
            for model, predicted in predictions.items()
            for metric, value_B in task.measure(predicted.columns, weight_BN).items()
        }

    plain = {model: _as_they_are(task, predicted) for model, predicted in predictions.items()}
    drawn = replicate(measure, draws)
    estimates = {
        model: {metric: Estimate(value, drawn[model, metric]) for metric, value in values.items()}
        for model, values in plain.items()
    }
    return Scores(
        facts=first.facts,
        n=len(first.id),
        draws=draws.words,
        estimates=estimates,
        notes=dict.fromkeys(predictions, first.facts.warning),
    )


def _as_they_are(task: Task, predictions: Predictions) -> dict[str, float]:
    """The metrics of the samples, each counting once."""
    facts = predictions.facts
    try:
        measured = task.measure(predictions.columns, np.ones((1, len(predictions.id)), np.uint16))
    except ValueError as error:
        raise DataError(f"{facts.dataset}, {facts.task}, {facts.model}: {error}; evaluate again") from error
    values = {metric: float(value_1[0]) for metric, value_1 in measured.items()}
    if undefined := [metric for metric, value in values.items() if not np.isfinite(value)]:
        raise DataError(
            f"{facts.dataset}, {facts.task}, {facts.model}: {', '.join(undefined)} not defined: a class has no sample, "
            "or all samples are of one class; add samples or take the class off the card"
        )
    return values


def with_best_teacher(scores: Scores, teachers: Sequence[str], metric: str) -> Scores:
    """The scores with `best_teacher` added: the teacher with the highest metric on this very data set.

    Chosen on the test data, it flatters the teachers; a student that reaches it needs no such choice. The first of
    several equal teachers is taken. Without teachers nothing is added.
    """
    present = [model for model in teachers if model in scores.estimates]
    if not present:
        return scores
    best = max(present, key=lambda model: scores.estimates[model][metric].value)
    note = _join(f"{best}, chosen by {metric} on the test data", scores.notes[best])
    return replace(
        scores,
        estimates={**scores.estimates, BEST_TEACHER: scores.estimates[best]},
        notes={**scores.notes, BEST_TEACHER: note},
    )


def means(by_data_set: Sequence[Scores]) -> Iterator[Scores]:
    """The mean over the data sets of each modality that has several, and over all data sets; each counts once.

    Data sets are independent, so the replicates of a mean are the means of their replicates.
    """
    modalities = dict.fromkeys(scores.facts.modality for scores in by_data_set)
    for modality in modalities:
        members = [scores for scores in by_data_set if scores.facts.modality == modality]
        if len(members) > 1:
            yield _mean(members, modality)
    if by_data_set:
        yield _mean(by_data_set, MEAN)


def _mean(members: Sequence[Scores], modality: str) -> Scores:
    everywhere = [model for model in members[0].estimates if all(model in scores.estimates for scores in members)]
    estimates = {
        model: {
            metric: Estimate(
                value=float(np.mean([scores.estimates[model][metric].value for scores in members])),
                replicate_B=np.mean([scores.estimates[model][metric].replicate_B for scores in members], axis=0),
            )
            for metric in members[0].estimates[model]
        }
        for model in everywhere
    }
    facts = replace(members[0].facts, dataset=MEAN, modality=modality, warning="")
    draws = ", ".join(dict.fromkeys(scores.draws for scores in members))
    notes = dict.fromkeys(everywhere, f"mean over {len(members)} data sets" if len(members) > 1 else "one data set")
    return Scores(facts, sum(scores.n for scores in members), draws, estimates, notes)


def _results(scores: Scores, teachers: Sequence[str], resampling: Resampling, protocol: str) -> Iterator[Result]:
    drawn = f"{resampling.replicates} bootstrap replicates of {scores.draws}"
    for model in in_order(scores.estimates, teachers):
        for metric, estimate in scores.estimates[model].items():
            interval = percentile_interval(estimate.replicate_B, resampling.confidence)
            yield Result(
                model=model,
                dataset=scores.facts.dataset,
                modality=scores.facts.modality,
                task=scores.facts.task,
                metric=metric,
                value=estimate.value,
                low=interval.low,
                high=interval.high,
                n=scores.n,
                seed=resampling.seed,
                protocol=f"{protocol}; {resampling.confidence:.0%} percentile interval, {drawn}",
                note=_join(scores.notes[model], _left_out(interval)),
            )


def _comparisons(scores: Scores, teachers: Sequence[str], confidence: float) -> Iterator[Comparison]:
    if STUDENT not in scores.estimates:
        return
    for rival in in_order(scores.estimates, teachers):
        if rival == STUDENT:
            continue
        for metric, mine in scores.estimates[STUDENT].items():
            theirs = scores.estimates[rival][metric]
            difference_B = mine.replicate_B - theirs.replicate_B
            interval = percentile_interval(difference_B, confidence)
            yield Comparison(
                model=STUDENT,
                rival=rival,
                dataset=scores.facts.dataset,
                modality=scores.facts.modality,
                task=scores.facts.task,
                metric=metric,
                difference=mine.value - theirs.value,
                low=interval.low,
                high=interval.high,
                p=two_sided_p(difference_B),
                n=scores.n,
            )


def _left_out(interval: Interval) -> str:
    if not interval.undefined:
        return ""
    return f"{interval.undefined} of {interval.replicates} replicates drew no sample of a class and are left out"


def _join(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
