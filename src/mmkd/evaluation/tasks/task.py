"""What a task is: everything that is specific to one way of evaluating a model; N rows of predictions, B bootstrap
replicates."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample
from mmkd.evaluation.format.predictions import ClassScores, Predicted
from mmkd.evaluation.gallery.examples import GalleryExample, GallerySource
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, S
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array

Columns = Mapping[str, Array]
"""What is predicted for each row: column name -> (N,)."""

Detail = Literal[
    "prompt_sensitivity",
    "reliability_diagram",
    "conformal_sets",
    "corruptions",
    "confusion_matrix",
    "label_efficiency",
    "input_controls",
    "kaplan_meier",
]
"""A part of a task's section in the report, drawn by `report.details`."""


class NoSettings(Settings):
    """Of a task without a section of its own."""


@dataclass(frozen=True)
class TaskFiles(Generic[S]):
    """Files that a task writes beside its predictions.

    folder: below the evaluation's folder. setting: the key of `[evaluate]` that asks for them. every_model: they are
    written for each model, else for the focus model only. write: into the folder.
    """

    folder: str
    setting: str
    every_model: bool
    write: Callable[[Path, EmbeddedDataSet[S]], None]


@dataclass(frozen=True, kw_only=True)
class Task(Generic[S]):
    """One way to evaluate a model on a data set; registered in `tasks.table`.

    title: as tables and figures print it.
    section, settings: the key below `[evaluate]` with the task's settings, "" for none, and their class. `predict` gets
    these settings and no others; predictions are made again when any of them changes.
    complaint: what the card lacks for this task, or "".
    check: whether its samples are enough for the task, before any model is loaded: raises DataError as `predict` would
    for what embeddings have no part in. It gets the task's settings and the seed.
    catalogue_complaints: what the catalogue asks of its cards besides.
    predict: one model (or an ensemble) on one data set -> rows of predictions; the same rows for every model.
    measure: from their columns and weights (B, N) to metrics, each (B,). primary: the one that ranks models.
    printed: the metrics of the printed table; without them the first ones that are measured.
    shares: the metrics that are a share of rows, each right or wrong: where all are right, or none, they have an exact
    interval, but not on multi-label cards, where samples without a class are left out.
    lower_is_better: the metrics of which the lowest is best.
    noted: whether notes on the data sets stand below the printed table, whose numbers say little without them.
    labels: the classes that resampling keeps apart, or None.
    class_scores: what accuracy and AUC are made of, for tests without resampling, confusion matrices and the gallery;
    class_probabilities: calibrated ones, for reliability diagrams. None where there is no such thing.
    texts: what a model must embed besides the images. images: images to embed that belong to no sample.
    needs_texts: models without a text tower are left out.
    own_models: predictors that the card brings itself, such as sets of clinical covariates; they need no embeddings.
    gallery: errors or examples for the report, at most so many.
    derived_from: the task whose data sets it shares, which no card names: a setting of `[evaluate]` asks for it. It has
    no say in ranks over all tasks.
    detailed: which metrics stand in such a part of the report and not in the table of all metrics.
    details: what the report shows besides tables. files: what the task writes beside its predictions.
    protocol: the definitions a reader needs to compare the numbers with others'.
    """

    title: str
    section: str = ""
    settings: type[S]
    complaint: Callable[[Card], str]
    predict: Callable[[EmbeddedDataSet[S]], Predicted]
    measure: Callable[[Columns, Array], dict[str, Array]]
    primary: str
    protocol: str
    printed: tuple[str, ...] = ()
    shares: tuple[str, ...] = ("accuracy",)
    lower_is_better: tuple[str, ...] = ()
    noted: bool = False
    labels: Callable[[Columns], Array | None] = lambda columns: None
    class_scores: Callable[[Columns], ClassScores | None] = lambda columns: None
    class_probabilities: Callable[[Columns], ClassScores | None] = lambda columns: None
    texts: Callable[[Card, Sequence[Sample]], Sequence[str]] = lambda card, samples: ()
    images: Callable[[Card, Sequence[Sample]], Sequence[ImageRef]] = lambda card, samples: ()
    needs_texts: bool = True
    check: Callable[[Card, Sequence[Sample], S, int], None] = lambda card, samples, settings, seed: None
    own_models: Callable[[Card, Sequence[Sample]], Sequence[str]] = lambda card, samples: ()
    catalogue_complaints: Callable[[Card], Iterable[str]] = lambda card: ()
    gallery: Callable[[GallerySource, int], Iterator[GalleryExample]] = lambda source, limit: iter(())
    details: tuple[Detail, ...] = ()
    files: tuple[TaskFiles[S], ...] = ()
    derived_from: str = ""
    detailed: Callable[[str], bool] = lambda metric: False
