"""All models over all settings (tasks x data sets): mean ranks and numbers of firsts; S settings, Q models."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.evaluation.format.results import ALL, BEST_TEACHER, NULLS, Overall
from mmkd.evaluation.summary.scores import Estimate, Scores, deciding_metric, direction
from mmkd.evaluation.tasks.task import Task
from mmkd.randomness import Purpose, seed_of
from mmkd.statistics.bootstrap import percentile_interval
from mmkd.statistics.metrics import Array
from mmkd.statistics.overall_ranks import overall_ranks

ENOUGH_MODELS = 2
DIGITS = 12  # values that differ by rounding alone are ties


@dataclass(frozen=True)
class Setting:
    """One task on one data set. estimates: model -> of its deciding metric. sign: 1 where higher is better, else -1."""

    task: str
    data_set: str
    estimates: Mapping[str, Estimate]
    sign: int


def settings_of(by_data_set: Sequence[Scores], task: Task[Any]) -> Iterator[Setting]:
    """What each data set of a task says of the models that are ranked: without the null models and without
    `best_teacher`, which is a choice and no model. Nothing of a task that is made of another one's data."""
    for scores in by_data_set if not task.derived_from else ():
        metric = deciding_metric(scores, task)
        estimates = {
            model: metrics[metric]
            for model, metrics in scores.estimates.items()
            if model not in (*NULLS, BEST_TEACHER) and metric in metrics
        }
        yield Setting(scores.facts.task, scores.facts.dataset, estimates, direction(task, metric))


def overall(
    settings: Sequence[Setting],
    models: Sequence[str],
    family_of: Mapping[str, str],
    seed: int,
    confidence: float,
) -> Iterator[Overall]:
    """The models over the settings of all tasks, and over those of each where there are several; best first.

    models: as they were asked for. Settings that none of these was in (a card's own predictors alone) are left aside;
    without names all count. A model that misses one of the others has no rank. Nothing for fewer than two models.
    """
    tasks = list(dict.fromkeys(one.task for one in settings))
    for name in [ALL, *(tasks if len(tasks) > 1 else [])]:
        chosen = [
            one
            for one in settings
            if name in (ALL, one.task) and (not models or any(model in one.estimates for model in models))
        ]
        ranked = [model for model in chosen[0].estimates if _is_in_all(model, chosen)] if chosen else []
        if len(ranked) >= ENOUGH_MODELS:
            yield from _rows(name, chosen, ranked, family_of, seed, confidence)


def _is_in_all(model: str, settings: Sequence[Setting]) -> bool:
    return all(model in one.estimates for one in settings)


def _rows(
    task: str,
    settings: Sequence[Setting],
    models: Sequence[str],
    family_of: Mapping[str, str],
    seed: int,
    confidence: float,
) -> Iterator[Overall]:
    found = overall_ranks(
        np.stack([_signed(one, [one.estimates[model].value for model in models]) for one in settings]),
        [_signed(one, [one.estimates[model].replicate_B for model in models]).T for one in settings],
        [one.data_set for one in settings],
        (seed_of(seed, Purpose.BOOTSTRAP_OF_RANKS, task),),
        [family_of.get(one.data_set, "") for one in settings],
    )
    for place in np.lexsort((-found.first_Q, found.mean_rank_Q)).tolist():
        rank_low, rank_high = _bounds(found.mean_rank_BQ[:, place], confidence)
        first_low, first_high = _bounds(found.first_BQ[:, place], confidence)
        yield Overall(
            model=models[place],
            task=task,
            settings=len(settings),
            data_sets=len({one.data_set for one in settings}),
            models=len(models),
            mean_rank=float(found.mean_rank_Q[place]),
            mean_rank_low=rank_low,
            mean_rank_high=rank_high,
            firsts=float(found.first_Q[place]),
            firsts_low=first_low,
            firsts_high=first_high,
            draws=found.draws,
        )


def _signed(setting: Setting, values: Sequence[float] | Sequence[Array]) -> Array:
    """(Q,) or (Q, B), higher is better."""
    return np.round(setting.sign * np.asarray(values, np.float64), DIGITS)


def _bounds(value_B: Array, confidence: float) -> tuple[float, float]:
    """Ranks are always defined, so there are bounds."""
    interval = percentile_interval(value_B, confidence)
    return float(interval.low or 0.0), float(interval.high or 0.0)
