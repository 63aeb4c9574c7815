"""What classification tasks share: true classes as columns, and the metrics of a score for each class.

N samples, C classes, B bootstrap replicates.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample, only_pictures
from mmkd.evaluation.format.predictions import ClassScores
from mmkd.evaluation.tasks.task import Columns
from mmkd.statistics.calibration import BINS, brier, ece_equal_mass
from mmkd.statistics.metrics import (
    Array,
    accuracy,
    balanced_accuracy,
    checked_numbers,
    macro,
    macro_f1,
    one_vs_rest,
    weighted_mean,
)
from mmkd.statistics.ranking import average_precision, macro_auc

LABEL = "label"  # column of the class, its place in the card
MEMBER = "label:"  # prefix of the columns of a multi-label card instead, one of booleans per class
SCORE = "score:"  # prefix of the columns of scores, one per class in the card's order

PROTOCOL = (
    "accuracy = the highest score is of a true class (of one of them on multi-label cards, samples without any left "
    "out); macro_auc, macro_ap, macro_f1 = mean over one-vs-rest"
)
CALIBRATION = f"ece of the top class in {BINS} equal-mass bins, brier summed over classes, nll in nats"
CALIBRATION_METRICS = ("ece", "brier", "nll")


def truth_of(card: Card, samples: Sequence[Sample]) -> Array:
    """The classes' places (N,), or booleans (N, C) on a multi-label card. Raises DataError for a sample with several
    or no classes on a card that is not."""
    if not card.multi_label:
        return np.array([sample.label for sample in samples], np.int32)
    member_NC = np.zeros((len(samples), len(card.classes)), np.bool_)
    for row, sample in enumerate(samples):
        member_NC[row, list(sample.labels)] = True
    return member_NC


def check_classified(samples: Sequence[Sample], card: Card) -> None:
    """Raises DataError for a sample without a picture of its own, or without a class where it needs one."""
    truth_of(card, samples)
    only_pictures(samples)


def truth_columns(card: Card, samples: Sequence[Sample]) -> dict[str, Array]:
    truth = truth_of(card, samples)
    if truth.ndim == 1:
        return {LABEL: truth}
    return {f"{MEMBER}{entry.name}": truth[:, c] for c, entry in enumerate(card.classes)}


def labels_of(columns: Columns) -> Array | None:
    """The classes that resampling keeps apart; None on multi-label cards, where there is no such partition."""
    return columns.get(LABEL)


def is_multi_label(columns: Columns) -> bool:
    return any(name.startswith(MEMBER) for name in columns)


def truth_in(columns: Columns) -> Array:
    """What `truth_columns` put there, as `truth_of` gives it."""
    return columns[LABEL] if LABEL in columns else side_by_side(columns, MEMBER)


def score_columns(card: Card, score_NC: Array, prefix: str = SCORE) -> dict[str, Array]:
    return {f"{prefix}{entry.name}": score_NC[:, c] for c, entry in enumerate(card.classes)}


def side_by_side(columns: Columns, prefix: str) -> Array:
    """The columns whose names start with the prefix; (N, C)."""
    return np.stack([values for name, values in columns.items() if name.startswith(prefix)], axis=1)


def class_scores(columns: Columns, prefix: str = SCORE) -> ClassScores | None:
    """The columns whose names start with the prefix; None where there are none, and on multi-label cards, where the
    highest score does not win."""
    classes = [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]
    if LABEL not in columns or not classes:
        return None
    return ClassScores(classes, side_by_side(columns, prefix), columns[LABEL].astype(np.int64))


def centred(score_NC: Array) -> Array:
    """Each score less the mean of its sample's scores over the classes; float64 (N, C). Raises ValueError for NaN.

    Cosines of a picture share an offset, which differs from picture to picture and says nothing of its class. Of two
    classes half of the difference is left, so that the AUC agrees with the decision. Of more it is the order of a
    softmax at a high temperature; no temperature is needed.
    """
    wide_NC = checked_numbers(score_NC, "score")
    # the division comes last: up to it float32 is exact, so equal samples tie
    value_NC: Array = wide_NC * score_NC.shape[1]
    value_NC -= wide_NC.sum(axis=1, keepdims=True)
    value_NC /= score_NC.shape[1]
    return value_NC


def top_class_correct(score_NC: Array, truth: Array) -> Array:
    """Whether the highest score is of a true class; of equal ones the class that stands first counts. (N,)"""
    top_N = score_NC.argmax(axis=1)
    return np.asarray(top_N == truth if truth.ndim == 1 else truth[np.arange(len(top_N)), top_N])


def top_class_accuracy(correct_N: Array, truth: Array, weight_BN: Array) -> Array:
    """Share of the samples with any class whose highest score is of a true one; (B,), NaN where none was drawn.

    One definition for both kinds of cards: with one class a sample it is the accuracy, with several the precision at 1,
    which needs no threshold. (A cosine has none.)
    """
    if truth.ndim == 1:
        return accuracy(correct_N, weight_BN)
    any_N = truth.any(axis=1)
    if not any_N.any():
        return np.full(len(weight_BN), np.nan)
    return accuracy(correct_N[any_N], weight_BN[:, any_N])


def class_metrics(score_NC: Array, truth: Array, weight_BN: Array) -> dict[str, Array]:
    """accuracy and macro_auc of every card; balanced_accuracy and macro_f1, or macro_ap on multi-label ones."""
    correct_N = top_class_correct(score_NC, truth)
    member_NC = one_vs_rest(truth, score_NC.shape[1]) if truth.ndim == 1 else truth
    measured = {
        "accuracy": top_class_accuracy(correct_N, truth, weight_BN),
        "macro_auc": macro_auc(score_NC, member_NC, weight_BN),
    }
    if truth.ndim == 2:
        return {**measured, "macro_ap": macro(average_precision, score_NC, member_NC, weight_BN)}
    return {
        **measured,
        "balanced_accuracy": balanced_accuracy(correct_N, truth, weight_BN),
        "macro_f1": macro_f1(score_NC.argmax(axis=1), truth, score_NC.shape[1], weight_BN),
    }


def calibration_metrics(probability_NC: Array, label_N: Array, weight_BN: Array) -> dict[str, Array]:
    """ece (of the top class's probability), brier and nll; each (B,)."""
    correct_N = top_class_correct(probability_NC, label_N)
    return {
        "ece": ece_equal_mass(probability_NC.max(axis=1), correct_N, weight_BN),
        "brier": brier(probability_NC, one_vs_rest(label_N, probability_NC.shape[1]), weight_BN),
        "nll": log_loss(probability_NC, label_N, weight_BN),
    }


def log_loss(probability_NC: Array, label_N: Array, weight_BN: Array) -> Array:
    """Mean negative log-probability of the class, nats; (B,). The smallest float32 stands for 0: at most 87."""
    own_N = probability_NC[np.arange(len(label_N)), label_N].astype(np.float64)
    return weighted_mean(-np.log(np.maximum(own_N, np.finfo(np.float32).tiny)), weight_BN)
