"""A seventh task, to show that a task needs its own file and a line in the table; N samples, C classes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from mmkd.cards.card import Card
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.gallery.examples import wrong_classes
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.tasks.classes import (
    SCORE,
    class_metrics,
    class_scores,
    labels_of,
    score_columns,
    side_by_side,
    truth_columns,
    truth_in,
)
from mmkd.evaluation.tasks.task import Columns, Task, TaskFiles
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array


class NearestSettings(Settings):
    """first: so many samples of each class are the examples that the others are compared with."""

    first: PositiveInt = 2


def _complaint(card: Card) -> str:
    return "" if len(card.classes) > 1 else "needs two classes"


def _catalogue_complaints(card: Card) -> Iterator[str]:
    if "toy" not in card.warning:
        yield "says nowhere that it is a toy"


def _predict(embedded: EmbeddedDataSet[NearestSettings]) -> Predicted:
    samples = embedded.split("test")
    vector_ND, label_N = embedded.of_images(samples), np.array([sample.label for sample in samples])
    mean_CD = np.stack(
        [vector_ND[label_N == c][: embedded.settings.first].mean(axis=0) for c in range(len(embedded.card.classes))]
    )
    columns = truth_columns(embedded.card, samples) | score_columns(embedded.card, vector_ND @ mean_CD.T)
    return Predicted.of(samples, columns)


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    return class_metrics(side_by_side(columns, SCORE), truth_in(columns), weight_BN)


def _write(folder: Path, embedded: EmbeddedDataSet[NearestSettings]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{embedded.card.id}.txt").write_text(embedded.model)


TASK = Task(
    title="Nearest examples",
    section="nearest",
    settings=NearestSettings,
    complaint=_complaint,
    catalogue_complaints=_catalogue_complaints,
    predict=_predict,
    measure=_measure,
    primary="macro_auc",
    protocol="class of the nearest mean of examples",
    printed=("macro_auc", "accuracy"),
    labels=labels_of,
    class_scores=class_scores,
    needs_texts=False,
    gallery=wrong_classes,
    details=("confusion_matrix",),
    files=(TaskFiles("nearest", "gallery", False, _write),),
)
