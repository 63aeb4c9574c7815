"""What every task answers; N rows of predictions, B bootstrap replicates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.models.subject import Subject
from mmkd.statistics.metrics import Array

Columns = Mapping[str, Array]
"""What is predicted for each row: column name -> (N,)."""


def _nothing(*_: object) -> list[str]:
    return []


def _no_images(*_: object) -> list[ImageRef]:
    return []


@dataclass(frozen=True)
class Task:
    """One way to ask a model about a data set; registered in `tasks.table`.

    title: as tables and figures print it.
    complaint: what the card lacks for this task, or "".
    predict: one model (or an ensemble) on one data set -> rows of predictions; the same rows for every model.
    measure: from their columns and weights (B, N) to metrics, each (B,). primary: the one that ranks models.
    labels: the classes that resampling keeps apart, or None. class_scores: what accuracy and AUC are made of, (N, C),
    highest wins, for tests without resampling and for confusion matrices; None where there is no such thing.
    texts: what a model must embed besides the pictures. images: pictures to embed that belong to no sample.
    needs_texts, needs_images: models without a text tower, or data without pictures, are left out.
    own_models: predictors that the card brings itself, such as sets of clinical covariates; they need no embeddings.
    lower_is_better: the metrics of which the lowest is best.
    protocol: the definitions a reader needs to compare the numbers with others'.
    """

    title: str
    complaint: Callable[[Card], str]
    predict: Callable[[Subject], Predicted]
    measure: Callable[[Columns, Array], dict[str, Array]]
    primary: str
    protocol: str
    labels: Callable[[Columns], Array | None] = lambda columns: None
    class_scores: Callable[[Columns], Array | None] = lambda columns: None
    texts: Callable[[Card, Sequence[Sample]], list[str]] = _nothing
    images: Callable[[Card, Sequence[Sample]], list[ImageRef]] = _no_images
    needs_texts: bool = True
    own_models: Callable[[Card, Sequence[Sample]], list[str]] = _nothing
    lower_is_better: tuple[str, ...] = ()
