"""All models over several data sets, each counting once: means and ranks; S data sets, Q models, B replicates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mmkd.evaluation.format.results import BEST_TEACHER, IN_GENERAL, MEAN, NULLS, Ranking
from mmkd.evaluation.summary.scores import Estimate, Scores, all_have, direction
from mmkd.evaluation.tasks.task import Task
from mmkd.randomness import Purpose, seed_of
from mmkd.statistics.across_sets import critical_difference, macro_replicates, pairwise_signed_ranks

ENOUGH_SETS = 3  # to rank models over, or to draw from: half of the replicates of two would hold one only
ENOUGH_MODELS = 2
DIGITS = 12  # values that differ by rounding alone are ties


def means(by_data_set: Sequence[Scores], task: Task[Any]) -> Iterator[Scores]:
    """The mean over the data sets of each modality that has several, and over all data sets.

    Only models that were evaluated on all data sets of a mean have one, and only metrics that all of these have, but
    the primary metric is averaged over the data sets that have it (the note says how many). Data sets are independent,
    so the replicates of a mean are the means of their replicates.
    """
    for modality in dict.fromkeys(scores.facts.modality for scores in by_data_set):
        members = [scores for scores in by_data_set if scores.facts.modality == modality]
        if len(members) > 1:
            yield from _mean(members, modality, task)
    if by_data_set:
        yield from _mean(by_data_set, MEAN, task)


def _mean(members: Sequence[Scores], modality: str, task: Task[Any]) -> Iterator[Scores]:
    models = everywhere(members)
    estimates: dict[str, dict[str, Estimate]] = {model: {} for model in models}
    for metric in dict.fromkeys(name for one in members for model in models for name in one.estimates[model]):
        having = _having(members, models, metric)
        if len(having) == len(members) or metric == task.primary:
            for model in models:
                estimates[model][metric] = _averaged([scores.estimates[model][metric] for scores in having])
                estimates[model][metric] = replace(estimates[model][metric], note=_over(having, members, metric))
    if any(estimates.values()):
        facts = replace(members[0].facts, dataset=MEAN, modality=modality, warning="")
        draws = ", ".join(dict.fromkeys(scores.draws for scores in members))
        yield Scores(facts, draws, _units(members), estimates, members[0].subset)


def everywhere(members: Sequence[Scores]) -> list[str]:
    """The models that were evaluated on all these data sets."""
    return [model for model in members[0].estimates if all(model in scores.estimates for scores in members)]


def _having(members: Sequence[Scores], models: Sequence[str], metric: str) -> list[Scores]:
    return [scores for scores in members if all(metric in scores.estimates[model] for model in models)]


def _units(members: Sequence[Scores]) -> int:
    return sum(scores.units for scores in members)


def _averaged(estimates: Sequence[Estimate]) -> Estimate:
    value = float(np.mean([estimate.value for estimate in estimates]))
    replicate_B = np.mean([estimate.replicate_B for estimate in estimates], axis=0)
    units = estimates[0].units if len(estimates) == 1 else 0
    return Estimate(value, replicate_B, sum(estimate.n for estimate in estimates), units=units)


def _over(having: Sequence[Scores], members: Sequence[Scores], metric: str) -> str:
    if len(having) < len(members):
        return f"mean over {len(having)} of {len(members)} data sets, the others have no {metric}"
    return f"mean over {len(members)} data sets" if len(members) > 1 else "one data set"


def in_general(
    by_data_set: Sequence[Scores], task: Task[Any], seed: int, family_of: Mapping[str, str] | None = None
) -> Iterator[Scores]:
    """The mean of the primary metric over all data sets, with replicates that draw the data sets too: wider, and what
    speaks for other data sets like these. Nothing for fewer than three.

    family_of: data set -> the family it is drawn with, since overlapping data sets are not independent.
    """
    models = everywhere(by_data_set) if by_data_set else []
    having = _having(by_data_set, models, task.primary)
    if not models or len(having) < ENOUGH_SETS:
        return
    related = [(family_of or {}).get(scores.facts.dataset, "") for scores in having]
    drawing = seed_of(seed, Purpose.BOOTSTRAP_OF_DATA_SETS, len(having))
    estimates = {}
    for model in models:
        mine = [scores.estimates[model][task.primary] for scores in having]
        value_SB = np.stack([estimate.replicate_B for estimate in mine])
        drawn_B = macro_replicates(value_SB, "data sets and samples", (drawing,), related)
        note = f"as if the {len(having)} data sets were drawn from many like them"
        estimates[model] = {task.primary: replace(_averaged(mine), replicate_B=drawn_B, note=note)}
    facts = replace(by_data_set[0].facts, dataset=MEAN, modality=MEAN, warning="")
    drawn = f"{'families of ' if any(related) else ''}data sets, and of their samples"
    yield Scores(facts, drawn, _units(having), estimates, IN_GENERAL)


def families(overlaps: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Data sets that are connected by declared overlaps -> one name; "" for a data set of its own.

    overlaps: data set -> ids that it overlaps with, in either direction; ids of others are ignored.
    """
    family = {name: name for name in overlaps}
    for name, others in overlaps.items():
        for other in others:
            if other in family:
                joined = sorted({family[name], family[other]})
                family = {key: joined[0] if value in joined else value for key, value in family.items()}
    sizes = list(family.values())
    return {name: value if sizes.count(value) > 1 else "" for name, value in family.items()}


def rankings(by_data_set: Sequence[Scores], task: Task[Any], confidence: float) -> Iterator[Ranking]:
    """The ranking by the primary metric over the data sets that have it; nothing for fewer than three, or two models.

    It has the models that were evaluated on all of these data sets, without the null models and without `best_teacher`,
    which is a choice and no model.
    """
    having = [scores for scores in by_data_set if all_have(scores, task.primary)]
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
