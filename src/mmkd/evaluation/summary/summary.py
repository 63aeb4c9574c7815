"""From predictions to results: metrics, intervals, paired differences and rankings, without any model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.evaluation.format.predictions import Predictions, predictions_of
from mmkd.evaluation.format.results import (
    COMPARISONS,
    OVERALL,
    RANKINGS,
    RESULTS,
    STUDENT,
    Comparison,
    Overall,
    Ranking,
    Result,
    focus_model,
    in_order,
)
from mmkd.evaluation.summary.comparisons import comparisons, floor_notice, of_the_only_set, with_exact_tests, with_holm
from mmkd.evaluation.summary.counted import counted, left_out_note, notices
from mmkd.evaluation.summary.hand_out import handed_out
from mmkd.evaluation.summary.intervals import bounds_of
from mmkd.evaluation.summary.means import families, in_general, means, rankings
from mmkd.evaluation.summary.overall import Setting, overall, settings_of
from mmkd.evaluation.summary.scored import LeakedSamples, Plan, scored_of
from mmkd.evaluation.summary.scores import (
    Resampling,
    Scores,
    deciding_metric,
    with_null_notes,
)
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task
from mmkd.executors.executor import Executor
from mmkd.folders.json_lines import read_objects, write_json_lines

CARDS = "cards.jsonl"


@dataclass(frozen=True)
class Summary:
    """The rows of `results.jsonl`, `comparisons.jsonl`, `rankings.jsonl` and `overall.jsonl`.

    notices: lines on data sets with few groups, to be printed.
    """

    results: list[Result] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
    overall: list[Overall] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def write_summary(folder: Path, summary: Summary) -> None:
    write_json_lines(folder / RESULTS, summary.results)
    write_json_lines(folder / COMPARISONS, summary.comparisons)
    write_json_lines(folder / RANKINGS, summary.rankings)
    write_json_lines(folder / OVERALL, summary.overall)


def results_from_predictions(
    folder: Path,
    teachers: Sequence[str],
    resampling: Resampling,
    models: Sequence[str] = (),
    leaked: LeakedSamples = lambda dataset: (),
    corruption_baseline: str = "",
    executor: Executor | None = None,
) -> Summary:
    """Everything that follows from `folder/predictions`.

    teachers: the models among which `best_teacher` is chosen, in the order of the tables. The focus model is
    compared with every other one. models: as they were asked for, see `focus_model`. leaked: what a leakage
    audit found. corruption_baseline: see `EvaluateSettings`. executor: has workers compute the replicates, where that
    pays; leaked is then pickled. What `cards.jsonl` of the folder says of overlapping data
    sets is used, if it is there. Raises DataError for damaged or unaligned predictions and for metrics that are not
    defined.
    """
    plan = Plan(models, teachers, resampling, families(_overlaps(folder)), leaked, corruption_baseline)
    summary, settings, by_task = Summary(), list[Setting](), dict[str, list[Scores]]()
    with handed_out(folder, plan, executor) as plan:
        for name, task in TASKS.items():
            if by_data_set := list(predictions_of(folder, name)):
                by_task[task.title] = _summarise(task, by_data_set, plan, summary)
                settings += settings_of(counted(by_task[task.title]), task)
    summary.overall.extend(overall(settings, models, plan.family_of, resampling.seed, resampling.confidence))
    summary.notices.extend(notices(by_task, resampling.least_groups))
    return summary


def _summarise(
    task: Task[Any], by_data_set: Sequence[Mapping[str, Predictions]], plan: Plan, summary: Summary
) -> list[Scores]:
    """Adds the task's rows; returns the scores of its data sets."""
    confidence = plan.resampling.confidence
    scored = [scored_of(task, predictions, plan) for predictions in by_data_set]
    whole = [one.whole for one in scored]
    inside = counted(whole)
    derived = [*means(inside, task), *in_general(inside, task, plan.resampling.seed, plan.family_of)]
    if any(one.leaked for one in scored):  # each data set without leaked samples, and the means of these
        cleaned = [one.clean for one in scored if one.clean is not None]
        derived += [*cleaned, *means(counted(cleaned), task)]
    derived += [part for one in scored for part in one.subgroups]
    gaps = [gap for one in scored for gap in one.gaps]
    for scores in [*(with_null_notes(one, task, confidence) for one in [*whole, *derived]), *gaps]:
        summary.results.extend(_results(scores, plan, task.protocol))
    summary.comparisons.extend(_comparisons(task, by_data_set, whole, derived, plan))
    summary.rankings.extend(rankings(inside, task, confidence))
    return whole


def _comparisons(
    task: Task[Any],
    by_data_set: Sequence[Mapping[str, Predictions]],
    whole: Sequence[Scores],
    derived: Sequence[Scores],
    plan: Plan,
) -> list[Comparison]:
    """One model against all others: on the data sets with exact tests, then on means and subsets; adjusted by Holm."""
    evaluated = {model for predictions in by_data_set for model in predictions}
    model = focus_model([*plan.models, *evaluated & {STUDENT}], plan.teachers)
    if model in plan.teachers:  # there are teachers only, and no one of them is to be compared with the others
        return []
    rows: list[Comparison] = []
    for predictions, scores in zip(by_data_set, whole, strict=True):
        found = list(comparisons(scores, model, plan.teachers, plan.resampling.confidence))
        rows += with_exact_tests(found, scores, predictions, task)
    for scores in derived:
        found = list(comparisons(scores, model, plan.teachers, plan.resampling.confidence))
        rows += [of_the_only_set(row, rows) for row in found]
    rows = with_holm(rows, {scores.facts.dataset: deciding_metric(scores, task) for scores in whole})
    if notice := floor_notice(rows, plan.resampling.replicates):
        print(f"{task.title}: {notice}")
    return rows


def _overlaps(folder: Path) -> dict[str, list[str]]:
    path = folder / CARDS
    cards = read_objects(path, "run 'mmkd evaluate' again") if path.is_file() else []
    return {card["id"]: list(card.get("overlaps", [])) for card in cards}


def _results(scores: Scores, plan: Plan, protocol: str) -> Iterator[Result]:
    confidence = plan.resampling.confidence
    drawn = f"{plan.resampling.replicates} bootstrap replicates of {scores.draws}"
    left_out = left_out_note(scores, plan.resampling.least_groups)
    for model in in_order(scores.estimates, plan.teachers):
        for metric, estimate in scores.estimates[model].items():
            bounds = bounds_of(estimate.value, estimate.replicate_B, estimate.units, confidence)
            yield Result(
                model=model,
                dataset=scores.facts.dataset,
                modality=scores.facts.modality,
                task=scores.facts.task,
                metric=metric,
                value=estimate.value,
                low=bounds.low,
                high=bounds.high,
                n=estimate.n,
                seed=plan.resampling.seed,
                protocol=f"{protocol}; {bounds.words}, {drawn}",
                note="; ".join(filter(None, [estimate.note, bounds.note, left_out])),
                subset=scores.subset,
                is_counted=scores.is_counted,
            )
