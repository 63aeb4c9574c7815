"""The stage `evaluate`: every model on every data set; embeddings, then predictions, then results."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.evaluation.cards import chosen_cards
from mmkd.evaluation.data_set import DataSet, DecodedImages, open_data_set
from mmkd.evaluation.embed import embed, made_from_digest
from mmkd.evaluation.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.encoders import Candidate, model_candidate, null_candidate
from mmkd.evaluation.predictions import (
    PREDICTIONS,
    PredictionFacts,
    are_made_from,
    predictions_path,
    write_predictions,
)
from mmkd.evaluation.results import BEST_TEACHER, STUDENT, STUDENTS, TEACHERS_CONCAT
from mmkd.evaluation.scores import Resampling
from mmkd.evaluation.settings import NULLS, EvaluateSettings
from mmkd.evaluation.subject import Subject
from mmkd.evaluation.summary import write_results
from mmkd.evaluation.tables import printed
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.settings import TeacherSpec

DECIDING = {"probe", "slides", "survival", "retrieval"}  # the settings that decide predictions


def evaluate(
    settings: EvaluateSettings,
    data_sets: Sequence[DataSet],
    models: Sequence[TeacherSpec],
    teachers: Sequence[str],
    folder: Path,
    machine: Machine,
    seed: int,
    corpus: Path | None = None,
) -> dict[str, int]:
    """Leave embeddings, predictions, `results.jsonl`, `comparisons.jsonl` and `rankings.jsonl` in the folder; returns
    counts.

    data_sets: of the settings' cards. models: teachers and students alike, one in memory at a time. teachers: the names
    of those that are teachers; two or more also make the ensemble `teachers_concat`. What the folder has of an earlier
    or a cut-off call is not made again. Raises ConfigError, DataError or ModelError before results are written; nothing
    is skipped.
    """
    _check_names([spec.name for spec in models], teachers)
    candidates = [model_candidate(spec) for spec in models]
    candidates += [null_candidate(name, _reference(models), seed) for name in settings.nulls]
    device = prepare(machine)
    images = DecodedImages(machine.decoded_cache_mb)
    pictured = [data_set for data_set in data_sets if data_set.images]
    for candidate in candidates:
        embed(candidate, pictured, folder, device, images, settings.batch_size, machine.workers)
    members = {candidate.name: [candidate] for candidate in candidates}
    if len(teachers) > 1:
        members[TEACHERS_CONCAT] = [candidate for candidate in candidates if candidate.name in teachers]
    wanted = [one for data_set in data_sets for one in combinations(data_set, members)]
    _forget_others(folder, wanted)
    for one in wanted:
        predict(one, folder, settings, seed)
    resampling = Resampling(settings.bootstrap, settings.confidence, seed)
    summary = write_results(folder, teachers, resampling, [spec.name for spec in models])
    say(printed(summary.results, summary.comparisons, teachers, summary.rankings))
    return {
        "models": len(models),
        "data_sets": len(data_sets),
        "samples": sum(len(data_set.samples) for data_set in data_sets),
        "predictions": len(wanted),
        "results": len(summary.results),
    }


def open_data_sets(settings: EvaluateSettings) -> list[DataSet]:
    """The data sets of the settings' cards; their digests by card id are the `inputs` of the stage."""
    return [open_data_set(card) for card in chosen_cards(settings)]


@dataclass(frozen=True)
class Combination:
    """A model, an ensemble, or a predictor of the card's own (no candidates), to be asked one task of a data set."""

    task: str
    data_set: DataSet
    model: str
    candidates: Sequence[Candidate]

    @property
    def path_facts(self) -> PredictionFacts:
        card = self.data_set.card
        return PredictionFacts(self.model, card.id, card.modality, self.task, card.warning)


def combinations(data_set: DataSet, members: Mapping[str, Sequence[Candidate]]) -> Iterator[Combination]:
    """Everything to be predicted on one data set."""
    for name in data_set.card.tasks:
        for model in TASKS[name].own_models(data_set.card, data_set.samples):
            yield Combination(name, data_set, model, [])
        if data_set.images:
            for model, candidates in members.items():
                yield Combination(name, data_set, model, candidates)


def predict(one: Combination, folder: Path, settings: EvaluateSettings, seed: int) -> None:
    """Write the predictions of one combination, unless they are there or the model cannot read the question."""
    task, data_set = TASKS[one.task], one.data_set
    made_from = _made_from(one, task, settings, seed)
    facts = PredictionFacts(**{**vars(one.path_facts), "made_from": made_from})
    path = predictions_path(folder, facts)
    if are_made_from(path, made_from):
        return
    stored = [read_embeddings(embeddings_path(folder, data_set.card.id, part.name)) for part in one.candidates]
    if task.needs_texts and any(len(member.texts) < len(data_set.texts) for member in stored):
        path.unlink(missing_ok=True)
        return
    subject = Subject(one.model, data_set.card, data_set.samples, data_set.images, stored, settings, seed)
    write_predictions(folder, facts, task.predict(subject))


def _made_from(one: Combination, task: Task, settings: EvaluateSettings, seed: int) -> str:
    parts = [made_from_digest(candidate, one.data_set) for candidate in one.candidates] or [one.data_set.digest]
    deciding = [parts, one.task, task.protocol, settings.model_dump(include=DECIDING), seed]
    return hashlib.sha256(json.dumps([one.model, *deciding]).encode()).hexdigest()


def _forget_others(folder: Path, wanted: Sequence[Combination]) -> None:
    """Take away predictions of models or data sets that this call does not ask for: they would enter the results."""
    kept = {predictions_path(folder, one.path_facts) for one in wanted}
    for path in (folder / PREDICTIONS).rglob("*.parquet"):
        if path not in kept:
            path.unlink()


def _reference(models: Sequence[TeacherSpec]) -> TeacherSpec:
    """The student, or where there is none the first model."""
    return next((spec for spec in models if spec.name == STUDENT), models[0])


def _check_names(models: Sequence[str], teachers: Sequence[str]) -> None:
    if not models:
        raise ConfigError("no model to evaluate")
    twice = sorted({name for name in models if models.count(name) > 1})
    if twice:
        raise ConfigError(f"models named twice: {', '.join(twice)}; every model needs a name of its own")
    reserved = {BEST_TEACHER, TEACHERS_CONCAT, *NULLS}
    taken = sorted(reserved & set(models) | set(STUDENTS) & set(teachers))
    if taken:
        raise ConfigError(f"{', '.join(taken)}: the evaluation uses this name itself; choose another for the model")
    if strangers := sorted(set(teachers) - set(models)):
        raise ConfigError(f"teachers that are not among the models: {', '.join(strangers)}")
