"""Everything a finished evaluation left on disk, read once for all sections of the report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmkd.errors import DataError
from mmkd.evaluation.format.not_evaluated import NotEvaluated, read_not_evaluated
from mmkd.evaluation.format.predictions import PredictionFacts, Predictions, predictions_path, read_predictions
from mmkd.evaluation.format.results import (
    ALL,
    IN_GENERAL,
    MEAN,
    NOT_COUNTED,
    NULLS,
    OF_TEACHERS,
    RANKINGS,
    STUDENT,
    Comparison,
    Overall,
    Ranking,
    Result,
    focus_model,
    in_order,
    read_comparisons,
    read_overall,
    read_rankings,
    read_results,
)
from mmkd.evaluation.leakage.matches import LeakageSummary, read_summary
from mmkd.evaluation.tasks.table import TASKS
from mmkd.folders import json_lines
from mmkd.folders.stage import read_manifest

CARDS = "cards.jsonl"


@dataclass(frozen=True)
class ReportContext:
    """What the results do not say. licences: teacher -> licence, in the order of the tables; empty where no teachers
    are known, and every other model is then a rival like any other.

    reliability: modality -> teacher -> mean percentile of a pair's own caption within its modality, 0..1.
    curves: name of a training run and its `metrics.jsonl`.
    """

    recipe: str
    seed: int | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    reliability: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    curves: Sequence[tuple[str, Path]] = ()


@dataclass(frozen=True)
class Evaluated:
    """An evaluation folder. results: of all samples; subsets: of parts of them. in_general: means whose intervals draw
    data sets too. overall: ranks over all tasks. main: the model the report is about. missing: what was not evaluated.
    """

    folder: Path
    main: str
    teachers: Sequence[str]
    results: Sequence[Result]
    subsets: Sequence[Result]
    comparisons: Sequence[Comparison]
    in_general: Sequence[Comparison]
    rankings: Sequence[Ranking]
    overall: Sequence[Overall]
    cards: Sequence[Mapping[str, Any]]
    leaks: LeakageSummary | None
    missing: Sequence[NotEvaluated]
    manifest: Mapping[str, Any]

    @property
    def named(self) -> str:
        """The main model inside a sentence."""
        return "the student" if self.main == STUDENT else self.main

    @cached_property
    def tasks(self) -> list[str]:
        """In the order in which tasks are registered."""
        found = dict.fromkeys(row.task for row in self.results)
        order = list(TASKS)
        return sorted(found, key=lambda name: order.index(name) if name in order else len(order))

    def of_task(self, task: str) -> list[Result]:
        return [row for row in self.results if row.task == task]

    def left_out(self, task: str) -> dict[str, str]:
        """Data set that no mean of the task counts -> its groups, and how many are asked for."""
        return {
            row.dataset: part.removeprefix(f"{NOT_COUNTED}: ")
            for row in self.of_task(task)
            for part in row.note.split("; ")
            if not row.is_counted and part.startswith(NOT_COUNTED)
        }

    def order(self, models: Iterable[str]) -> list[str]:
        """As tables show them: teachers, what is made of them, the others, the main model, and last the nulls."""
        found = list(dict.fromkeys(models))
        listed = in_order((model for model in found if model not in (self.main, *NULLS)), self.teachers)
        return [*listed, *([self.main] if self.main in found else []), *(name for name in NULLS if name in found)]

    def row_kind(self, model: str) -> str:
        return "ours" if model == self.main else "null" if model in NULLS else ""

    def rivals(self, models: Iterable[str]) -> list[str]:
        """Single models that the main one is to beat: the teachers, or where none are known all other models."""
        found = self.order(models)
        if self.teachers:
            return [model for model in found if model in self.teachers]
        return [model for model in found if model not in (self.main, *OF_TEACHERS, *NULLS)]

    def predictions(self, task: str) -> list[Predictions]:
        """What the main model predicted on each data set of the task, where the file is still there."""
        return [one for one in self.every_prediction(task) if one.facts.model == self.main]

    def every_prediction(self, task: str) -> list[Predictions]:
        """Of the main model, and on data sets that it was not asked about of the models that were (sets of covariates,
        say), by data set."""
        asked: dict[tuple[str, str], list[str]] = {}
        for row in self.of_task(task):
            if row.dataset != MEAN and row.model not in (*OF_TEACHERS, *NULLS):
                asked.setdefault((row.dataset, row.modality), []).append(row.model)
        paths = [
            predictions_path(self.folder, PredictionFacts(model, dataset, modality, task))
            for (dataset, modality), models in sorted(asked.items())
            for model in ([self.main] if self.main in models else dict.fromkeys(models))
        ]
        return [read_predictions(path) for path in paths if path.is_file()]


def read_evaluated(folder: Path, context: ReportContext) -> Evaluated:
    """Raises DataError where the folder is no finished evaluation or one of its files is damaged."""
    rows, comparisons, manifest = read_results(folder), read_comparisons(folder), read_manifest(folder)
    if not rows:
        raise DataError(f"{folder}: no results; evaluate at least one model on one data set")
    models = list(dict.fromkeys(row.model for row in rows))
    return Evaluated(
        folder=folder,
        main=comparisons[0].model if comparisons else focus_model(models, list(context.licences)) or models[0],
        teachers=list(context.licences),
        results=[row for row in rows if row.subset == ALL],
        subsets=[row for row in rows if row.subset not in (ALL, IN_GENERAL)],
        comparisons=[row for row in comparisons if row.subset == ALL],
        in_general=[row for row in comparisons if row.subset == IN_GENERAL],
        rankings=read_rankings(folder) if (folder / RANKINGS).is_file() else [],
        overall=read_overall(folder),
        cards=read_objects(folder / CARDS),
        leaks=read_summary(folder),
        missing=read_not_evaluated(folder),
        manifest=manifest,
    )


def read_objects(path: Path) -> list[dict[str, Any]]:
    """One JSON object a line; none where the file is not there. Raises DataError for a line that is no object."""
    return json_lines.read_objects(path, "evaluate again") if path.is_file() else []


def task_title(task: str) -> str:
    return TASKS[task].title if task in TASKS else task.replace("_", " ").capitalize()


def primary_metric(rows: Sequence[Result], task: str) -> str:
    """The metric that ranks the models of a task; the first there is where its own is missing. rows: of that task."""
    metrics = list(dict.fromkeys(row.metric for row in rows))
    own = TASKS[task].primary if task in TASKS else ""
    return own if own in metrics else metrics[0]


def left_out_sentence(left_out: Mapping[str, str]) -> str:
    """See `Evaluated.left_out`; "" for none."""
    if not left_out:
        return ""
    return f"In no mean, ranking or rank: {', '.join(f'{name} ({why})' for name, why in left_out.items())}."


def left_out_lines(evaluated: Evaluated) -> list[str]:
    """The sentences, each with the tasks that it holds for."""
    tasks: dict[str, list[str]] = {}
    for task in evaluated.tasks:
        if sentence := left_out_sentence(evaluated.left_out(task)):
            tasks.setdefault(sentence, []).append(task_title(task))
    return [f"{', '.join(titles)}: {sentence[0].lower()}{sentence[1:]}" for sentence, titles in tasks.items()]


def lower_is_better(task: str) -> tuple[str, ...]:
    return TASKS[task].lower_is_better if task in TASKS else ()
