"""Cancer diagnosis on whole slides: what a frozen model's tile features say of a slide.

N slides, C classes, B bootstrap replicates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.gallery.heat_map import write_heat_maps
from mmkd.evaluation.heads.settings import SlideSettings
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.slides.bags import read_bag, write_bags
from mmkd.evaluation.slides.folds import Fold, slide_folds
from mmkd.evaluation.tasks.classes import class_scores, side_by_side
from mmkd.evaluation.tasks.task import Columns, Task, TaskFiles
from mmkd.randomness import Purpose, generator, seed_of
from mmkd.statistics.metrics import Array, accuracy, balanced_accuracy, macro, one_vs_rest
from mmkd.statistics.ranking import auc

if TYPE_CHECKING:
    from mmkd.evaluation.slides.classify import SlideScores

BAG = "bag:"  # prefix of the predictors that read ready features: `bag:<encoder>`
HEAT_MAPS_PER_CLASS = 2
POOLINGS = {"attention": "", "mean": "mean_pooling_"}  # prefix of columns (`attention:<class>`) -> of metrics


def slide_scores(embedded: EmbeddedDataSet[SlideSettings]) -> "SlideScores":
    """Probabilities and attention of every tested slide; folds depend on the data set and the seed, not on the model.

    Raises DataError for slides without tiles or ready features, or classes that cannot be trained.
    """
    from mmkd.evaluation.slides.classify import checked_bags, classify  # loads torch, which recipes are read without

    card = embedded.card
    seed = _seed(card, embedded.seed)
    folds, _ = _folds(card, embedded.samples, embedded.settings, seed)
    bags = checked_bags([_bag(embedded, sample) for sample in embedded.samples], embedded.samples)
    return classify(bags, embedded.samples, len(card.classes), folds, embedded.settings, seed)


def _seed(card: Card, seed: int) -> int:
    return seed_of(seed, Purpose.DIAGNOSIS, card.id)


def _folds(card: Card, samples: Sequence[Sample], settings: SlideSettings, seed: int) -> tuple[list[Fold], str]:
    """As `slide_folds`. seed: that of the data set."""
    names = [entry.name for entry in card.classes]
    return slide_folds(samples, names, settings.folds, generator(seed, Purpose.SLIDE_FOLDS))


def _check(card: Card, samples: Sequence[Sample], settings: SlideSettings, seed: int) -> None:
    _folds(card, samples, settings, _seed(card, seed))
    for encoder in dict.fromkeys(name for sample in samples for name in sample.bags):
        for sample in samples:
            _check_bag(sample, encoder)


def _check_bag(sample: Sample, encoder: str) -> None:
    if encoder not in sample.bags:
        raise DataError(f"slide {sample.id!r} has no features of {encoder!r}; add its file, or take the slide out")


def _bag(embedded: EmbeddedDataSet[SlideSettings], sample: Sample) -> Array:
    if embedded.members:
        if not sample.images:
            raise DataError(f"slide {sample.id!r} has no tiles; take it out of the table, or give it some")
        return embedded.of_bag(sample)
    encoder = embedded.model.removeprefix(BAG)
    _check_bag(sample, encoder)
    return read_bag(sample.bags[encoder]).feature_ND


def _complaint(card: Card) -> str:
    if card.layout.reader != "slides":
        return f"needs tiles of slides, which the reader {card.layout.reader!r} does not give"
    if card.multi_label:
        return "needs one class a slide, but the card is multi_label"
    return "" if len(card.classes) > 1 else f"needs at least two [[classes]], found {len(card.classes)}"


def _own_models(card: Card, samples: Sequence[Sample]) -> list[str]:
    return [f"{BAG}{encoder}" for encoder in dict.fromkeys(name for sample in samples for name in sample.bags)]


def _predict(embedded: EmbeddedDataSet[SlideSettings]) -> Predicted:
    scores = slide_scores(embedded)
    samples = [embedded.samples[n] for n in scores.tested_N]
    columns: dict[str, Array] = {"label": np.array([sample.label for sample in samples], np.int32)}
    for pooling, score_NC in (("mean", scores.mean_NC), ("attention", scores.attention_NC)):
        columns |= {f"{pooling}:{entry.name}": score_NC[:, c] for c, entry in enumerate(embedded.card.classes)}
    return Predicted.of(samples, columns)


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    """Equal highest probabilities go to the class that stands first in the card."""
    label_N = columns["label"]
    metrics: dict[str, Array] = {}
    for pooling, prefix in POOLINGS.items():
        score_NC = side_by_side(columns, f"{pooling}:")
        correct_N = score_NC.argmax(axis=1) == label_N
        metrics[f"{prefix}accuracy"] = accuracy(correct_N, weight_BN)
        metrics[f"{prefix}balanced_accuracy"] = balanced_accuracy(correct_N, label_N, weight_BN)
        metrics[f"{prefix}macro_auc"] = macro(auc, score_NC, one_vs_rest(label_N, score_NC.shape[1]), weight_BN)
    return metrics


def _write_heat_maps(folder: Path, embedded: EmbeddedDataSet[SlideSettings]) -> None:
    scores = slide_scores(embedded)
    tested = [embedded.samples[n] for n in scores.tested_N]
    write_heat_maps(folder, embedded.card.id, tested, scores.weights, HEAT_MAPS_PER_CLASS)


def _write_bags(folder: Path, embedded: EmbeddedDataSet[SlideSettings]) -> None:
    """`<set>/<model>/<slide>.h5`, for other tools."""
    home = folder / embedded.card.id / embedded.model
    write_bags(home, embedded.samples, embedded.images, embedded.members[0].image_ID)


TASK = Task(
    title="Diagnosis on slides",
    section="slides",
    settings=SlideSettings,
    complaint=_complaint,
    check=_check,
    labels=lambda columns: columns["label"],
    class_scores=lambda columns: class_scores(columns, "attention:"),
    details=("confusion_matrix",),
    files=(TaskFiles("heat_maps", "gallery", False, _write_heat_maps), TaskFiles("bags", "bags", True, _write_bags)),
    predict=_predict,
    measure=_measure,
    own_models=_own_models,
    needs_texts=False,
    # of tens of slides a share of correct ones moves in steps; the AUC uses all of the order, and no class counts more
    primary="macro_auc",
    protocol="frozen tile features (unit vectors; bag:* as stored); the card's train, val and test split, else folds "
    "by patient stratified by class, every slide predicted once by models that saw no slide of its patient, and folds "
    "pooled; gated attention MIL (Ilse 2018) on standardised features, class-balanced cross-entropy, AdamW, batches of "
    "4 slides, stopped on the val split or on a fifth of the training patients after 10 epochs without a lower loss; "
    "mean_pooling_* = logistic regression on the mean tile, penalty by inner folds of training and val patients; "
    "macro_auc = mean one-vs-rest AUC of the class probabilities, ties half",
)
