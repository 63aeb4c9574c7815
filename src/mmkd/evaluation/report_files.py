"""What an evaluation writes beside its numbers: facts of the data sets, a gallery, and files of single tasks."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.format.predictions import predictions_path, read_predictions
from mmkd.evaluation.gallery.choose import GallerySource
from mmkd.evaluation.gallery.examples import GalleryExample, gallery_path, write_examples
from mmkd.evaluation.summary.summary import CARDS
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.units import EvaluationUnit
from mmkd.folders.atomic import atomic_file


def write_cards(folder: Path, data_sets: Sequence[DataSet]) -> None:
    """`cards.jsonl`: what the report says of the data sets, without the paths of their layouts."""
    with atomic_file(folder / CARDS) as stream:
        for data_set in data_sets:
            row = data_set.card.model_dump(mode="json", exclude={"layout"})
            splits = [sample.split for sample in data_set.samples]
            row["found"] = {split: splits.count(split) for split in dict.fromkeys(splits)}
            stream.write(json.dumps(row).encode() + b"\n")


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
