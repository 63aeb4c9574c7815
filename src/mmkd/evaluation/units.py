"""Every model on every data set for every task: what is predicted, what is there, and what is written beside it."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmkd.evaluation.corruptions.families import Family
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.embed import made_from_digest
from mmkd.evaluation.format.predictions import (
    PREDICTIONS,
    PredictionFacts,
    are_made_from,
    predictions_path,
    read_predictions,
    write_predictions,
)
from mmkd.evaluation.format.results import NULLS
from mmkd.evaluation.gallery.examples import GalleryExample, GallerySource, gallery_path, write_examples
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, Embeddings, embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import LoadableModel
from mmkd.evaluation.summary.summary import CARDS
from mmkd.evaluation.tasks.robustness import NAME as ROBUSTNESS
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task
from mmkd.folders.json_lines import write_json_lines
from mmkd.settings import Settings


@dataclass(frozen=True)
class EvaluationUnit:
    """A task, a data set, and a model, an ensemble, or a predictor of the card's own (no members).

    settings: of the task. seed: of its draws. corrupted: what `corrupted_sets` made of the data set, for the task
    that asks for it.
    """

    task_name: str
    data_set: DataSet
    model: str
    members: Sequence[LoadableModel]
    settings: Settings
    seed: int
    corrupted: Mapping[Family, DataSet] = field(default_factory=dict)

    @property
    def task(self) -> Task[Any]:
        return TASKS[self.task_name]

    @property
    def facts(self) -> PredictionFacts:
        """What the predictions are of, and the digest of all that they are made from."""
        card = self.data_set.card
        data_sets = (self.data_set, *self.corrupted.values())
        members = [made_from_digest(member, one) for member in self.members for one in data_sets]
        members = members or [self.data_set.digest]
        settings = self.settings.model_dump(mode="json")
        made_from = json.dumps([self.model, members, self.task_name, self.task.protocol, settings, self.seed])
        digest = hashlib.sha256(made_from.encode()).hexdigest()
        return PredictionFacts(self.model, card.id, card.modality, self.task_name, card.warning, digest)

    def embedded(self, folder: Path) -> EmbeddedDataSet[Any]:
        """The data set as the model embeds it, from the folder's files."""
        variants = {str(family): partial(self._of_variant, one, folder) for family, one in self.corrupted.items()}
        return self._of(self.data_set, self._stored(self.data_set, folder), variants)

    def _of_variant(self, variant: DataSet, folder: Path) -> EmbeddedDataSet[Any]:
        """With the texts of the data set itself."""
        own = zip(self._stored(variant, folder), self._stored(self.data_set, folder), strict=True)
        stored = [replace(seen, text_TD=clean.text_TD, texts=clean.texts) for seen, clean in own]
        return self._of(variant, stored, {})

    def _stored(self, data_set: DataSet, folder: Path) -> list[Embeddings]:
        return [read_embeddings(embeddings_path(folder, data_set.card.id, one.name)) for one in self.members]

    def _of(
        self,
        data_set: DataSet,
        stored: Sequence[Embeddings],
        variants: Mapping[str, Callable[[], EmbeddedDataSet[Any]]],
    ) -> EmbeddedDataSet[Any]:
        card, samples, images = data_set.card, data_set.samples, data_set.images
        return EmbeddedDataSet(self.model, card, samples, images, stored, self.settings, self.seed, variants)


def units_of(
    data_set: DataSet,
    models: Mapping[str, Sequence[LoadableModel]],
    settings: EvaluateSettings,
    seed: int,
    corrupted: Mapping[Family, DataSet] | None = None,
) -> Iterator[EvaluationUnit]:
    """Everything to be predicted on one data set. models: name of a model, or of an ensemble -> its members.

    corrupted: what `corrupted_sets` made of it; the null models do not see that.
    """
    for name in data_set.card.tasks:
        task = TASKS[name]
        own = dict.fromkeys(task.own_models(data_set.card, data_set.samples), ())
        for model, members in {**own, **(models if data_set.images else {})}.items():
            yield EvaluationUnit(name, data_set, model, members, settings.of_task(task), seed)
    for model, members in models.items() if corrupted else ():
        if model not in NULLS:
            own_settings = settings.of_task(TASKS[ROBUSTNESS])
            yield EvaluationUnit(ROBUSTNESS, data_set, model, members, own_settings, seed, corrupted or {})


def predict(unit: EvaluationUnit, folder: Path) -> bool:
    """Write the predictions of one unit, unless they are there or the model has no text tower; whether it did."""
    facts = unit.facts
    path = predictions_path(folder, facts)
    if are_made_from(path, facts.made_from):
        return False
    embedded = unit.embedded(folder)
    if unit.task.needs_texts and any(len(member.texts) < len(unit.data_set.texts) for member in embedded.members):
        path.unlink(missing_ok=True)
        return False
    write_predictions(folder, facts, unit.task.predict(embedded))
    return True


def remove_prediction(unit: EvaluationUnit, folder: Path) -> None:
    predictions_path(folder, unit.facts).unlink(missing_ok=True)


def remove_stale_predictions(folder: Path, units: Sequence[EvaluationUnit]) -> None:
    """Remove predictions of models or data sets that this call does not ask for: they would enter the results."""
    current = {(unit.task_name, unit.data_set.card.id, unit.model) for unit in units}
    for path in (folder / PREDICTIONS).rglob("*.parquet"):
        if (path.parts[-3], path.parts[-2], path.stem) not in current:
            path.unlink()


def write_cards(folder: Path, data_sets: Sequence[DataSet]) -> None:
    """`cards.jsonl`: what the report says of the data sets, without the paths of their layouts."""
    rows = []
    for data_set in data_sets:
        splits = [sample.split for sample in data_set.samples]
        found = {split: splits.count(split) for split in dict.fromkeys(splits)}
        rows.append({**data_set.card.model_dump(mode="json", exclude={"layout"}), "found": found})
    write_json_lines(folder / CARDS, rows)


def write_galleries(
    folder: Path, units: Sequence[EvaluationUnit], focus: str, images: DecodedImages, limit: int
) -> None:
    """`gallery/<set>.parquet` for each data set of the units: examples of the focus model, `limit` of a task at most.

    Data sets without an example have no file. Equal predictions make equal files.
    """
    for card_id in dict.fromkeys(unit.data_set.card.id for unit in units):
        examples = [
            example
            for unit in units
            if (unit.data_set.card.id, unit.model) == (card_id, focus) and limit > 0
            for example in gallery_examples(folder, unit, images, limit)
        ]
        path = gallery_path(folder, card_id)
        if examples:
            write_examples(path, examples)
        else:
            path.unlink(missing_ok=True)


def gallery_examples(folder: Path, unit: EvaluationUnit, images: DecodedImages, limit: int) -> Sequence[GalleryExample]:
    """Of one unit; none where the model was not evaluated on the task."""
    path = predictions_path(folder, unit.facts)
    if not path.is_file():
        return []
    predictions = read_predictions(path)
    scores = unit.task.class_scores(predictions.columns)
    return list(unit.task.gallery(GallerySource(predictions, scores, unit.embedded(folder), images.get), limit))


def write_task_files(folder: Path, units: Sequence[EvaluationUnit], focus: str, settings: EvaluateSettings) -> None:
    """The files of the tasks that the settings ask for, of single models."""
    for unit in units:
        for files in unit.task.files:
            is_meant = unit.model == focus or (files.every_model and len(unit.members) == 1)
            if is_meant and unit.members and getattr(settings, files.setting):
                files.write(folder / files.folder, unit.embedded(folder))
