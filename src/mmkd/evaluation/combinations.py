"""Every model before every task of every data set: what is to be predicted, and what is there already."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.evaluation.data_sets.opened import DataSet
from mmkd.evaluation.embed import made_from_digest
from mmkd.evaluation.format.predictions import (
    PREDICTIONS,
    PredictionFacts,
    are_made_from,
    predictions_path,
    write_predictions,
)
from mmkd.evaluation.format.settings import EvaluateSettings
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import Candidate
from mmkd.evaluation.models.subject import Subject
from mmkd.evaluation.tasks.table import TASKS

DECIDING = {"probe", "slides", "survival", "retrieval", "vqa"}  # the settings that decide predictions


@dataclass(frozen=True)
class Combination:
    """A model, an ensemble, or a predictor of the card's own (no candidates), to be asked one task of a data set."""

    task: str
    data_set: DataSet
    model: str
    candidates: Sequence[Candidate]

    def facts(self, settings: EvaluateSettings, seed: int) -> PredictionFacts:
        """What the predictions are of, and the digest of what they are made from."""
        card = self.data_set.card
        parts = [made_from_digest(candidate, self.data_set) for candidate in self.candidates]
        deciding = [parts or [self.data_set.digest], self.task, TASKS[self.task].protocol]
        told = json.dumps([self.model, *deciding, settings.model_dump(include=DECIDING), seed])
        digest = hashlib.sha256(told.encode()).hexdigest()
        return PredictionFacts(self.model, card.id, card.modality, self.task, card.warning, digest)

    def subject(self, folder: Path, settings: EvaluateSettings, seed: int) -> Subject:
        """The model with its stored embeddings, before the data set."""
        data_set = self.data_set
        stored = [read_embeddings(embeddings_path(folder, data_set.card.id, one.name)) for one in self.candidates]
        return Subject(self.model, data_set.card, data_set.samples, data_set.images, stored, settings, seed)


def combinations(data_set: DataSet, members: Mapping[str, Sequence[Candidate]]) -> Iterator[Combination]:
    """Everything to be predicted on one data set. members: a model's name, or an ensemble's, and what it is made of."""
    for name in data_set.card.tasks:
        for model in TASKS[name].own_models(data_set.card, data_set.samples):
            yield Combination(name, data_set, model, [])
        if data_set.images:
            for model, candidates in members.items():
                yield Combination(name, data_set, model, candidates)


def predict(one: Combination, folder: Path, settings: EvaluateSettings, seed: int) -> bool:
    """Write the predictions of one combination, unless they are there or the model cannot read; says if it worked."""
    facts = one.facts(settings, seed)
    path = predictions_path(folder, facts)
    if are_made_from(path, facts.made_from):
        return False
    task, subject = TASKS[one.task], one.subject(folder, settings, seed)
    if task.needs_texts and any(len(member.texts) < len(one.data_set.texts) for member in subject.members):
        path.unlink(missing_ok=True)
        return False
    write_predictions(folder, facts, task.predict(subject))
    return True


def forget_others(folder: Path, wanted: Sequence[Combination]) -> None:
    """Take away predictions of models or data sets that this call does not ask for: they would enter the results."""
    kept = {(one.task, one.data_set.card.id, one.model) for one in wanted}
    for path in (folder / PREDICTIONS).rglob("*.parquet"):
        if (path.parts[-3], path.parts[-2], path.stem) not in kept:
            path.unlink()
