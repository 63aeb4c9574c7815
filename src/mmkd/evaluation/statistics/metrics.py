"""Metrics of weighted samples, for many weightings at once.

B weightings (bootstrap replicates), N samples, C classes, G groups of equal scores. A weight is how often a sample was
drawn, so each metric equals the usual one on the resample with that many copies; weights of one give the plain metric.
A replicate in which a metric is not defined (a class was not drawn) gets NaN, for the caller to count.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def accuracy(correct_N: Array, weight_BN: Array) -> Array:
    """Share of samples that are correct, 0..1; shape (B,)."""
    return _mean(correct_N.astype(np.float64), weight_BN)


def balanced_accuracy(correct_N: Array, label_N: Array, weight_BN: Array) -> Array:
    """Mean over the classes among the labels of the share that is correct, 0..1; shape (B,)."""
    per_class = [accuracy(correct_N[label_N == label], weight_BN[:, label_N == label]) for label in np.unique(label_N)]
    mean_B: Array = np.mean(per_class, axis=0)
    return mean_B


def macro_auc(score_NC: Array, label_N: Array, weight_BN: Array) -> Array:
    """Mean over the C classes of the area under the one-vs-rest ROC curve of the class's own score, 0..1; shape (B,).

    Scores are used as they are: a softmax over classes would make the area depend on a temperature. Equal scores count
    half, as in the Mann-Whitney statistic.
    """
    per_class = [auc(score_NC[:, c], label_N == c, weight_BN) for c in range(score_NC.shape[1])]
    mean_B: Array = np.mean(per_class, axis=0)
    return mean_B


def auc(score_N: Array, positive_N: Array, weight_BN: Array) -> Array:
    """Probability that a positive scores above a negative, equal scores counting half, 0..1; shape (B,)."""
    order_N = np.argsort(score_N, kind="stable")
    starts_G = np.flatnonzero(np.diff(score_N[order_N], prepend=-np.inf))
    sorted_BN = weight_BN[:, order_N].astype(np.float64)
    positive_BG = np.add.reduceat(sorted_BN * positive_N[order_N], starts_G, axis=1)
    negative_BG = np.add.reduceat(sorted_BN * ~positive_N[order_N], starts_G, axis=1)
    below_BG = np.cumsum(negative_BG, axis=1) - negative_BG / 2
    pairs_B = positive_BG.sum(axis=1) * negative_BG.sum(axis=1)
    return _ratio((positive_BG * below_BG).sum(axis=1), pairs_B)


def recall_at(k: int, rank_N: Array, weight_BN: Array) -> Array:
    """Share of queries whose best positive ranks k-th or better (ranks from 1), 0..1; shape (B,)."""
    return _mean((rank_N <= k).astype(np.float64), weight_BN)


def median(value_N: Array, weight_BN: Array) -> Array:
    """The median, the mean of the two middle values where their number is even; shape (B,)."""
    order_N = np.argsort(value_N, kind="stable")
    reached_BN = np.cumsum(weight_BN[:, order_N], axis=1, dtype=np.int64)
    total_B = reached_BN[:, -1]
    middle = [
        value_N[order_N][(reached_BN > place_B[:, None]).argmax(axis=1)]
        for place_B in ((total_B - 1) // 2, total_B // 2)
    ]
    median_B: Array = (middle[0] + middle[1]) / 2
    return median_B


def _mean(value_N: Array, weight_BN: Array) -> Array:
    return _ratio(weight_BN @ value_N, weight_BN.sum(axis=1, dtype=np.float64))


def _ratio(part_B: Array, whole_B: Array) -> Array:
    ratio_B: Array = np.divide(part_B, whole_B, out=np.full(len(part_B), np.nan), where=whole_B > 0)
    return ratio_B
