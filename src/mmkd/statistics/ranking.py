"""How well scores put positives above negatives, for many weightings at once; see `metrics` for what weights mean.

B weightings, N samples, P positives, M negatives, R the weightings of one chunk. Scores are used as they are: a softmax
over classes would make the result depend on a temperature.
"""

import numpy as np

from mmkd.statistics.metrics import (
    Array,
    check_weights,
    checked_flags,
    checked_numbers,
    chunks,
    cumulative,
    ratio,
    wide,
)


def auc(score_N: Array, positive_N: Array, weight_BN: Array) -> Array:
    """Area under the ROC curve: how probably a positive scores above a negative, ties counting half; 0..1, (B,).

    The Mann-Whitney statistic. For each positive the weight of the negatives below it is read from the cumulative
    weights of the sorted negatives; with whole weights numerator and denominator are exact.
    """
    score_N = _checked(score_N, positive_N, weight_BN)
    positives, negatives = np.flatnonzero(positive_N), np.flatnonzero(~positive_N)
    negatives = negatives[np.argsort(score_N[negatives])]
    below_P = np.searchsorted(score_N[negatives], score_N[positives], side="left")
    level_P = np.searchsorted(score_N[negatives], score_N[positives], side="right")
    auc_B = np.empty(len(weight_BN))
    for rows in chunks(weight_BN):
        positive_RP = weight_BN[rows][:, positives].astype(wide(weight_BN))
        reached_RM = cumulative(weight_BN[rows], negatives)
        twice_R = (positive_RP * (reached_RM[:, below_P] + reached_RM[:, level_P])).sum(axis=1)
        auc_B[rows] = ratio(twice_R, 2 * positive_RP.sum(axis=1) * reached_RM[:, -1])
    return auc_B


def average_precision(score_N: Array, positive_N: Array, weight_BN: Array) -> Array:
    """Mean over the positives of the precision at their score, nothing interpolated; 0..1, (B,).

    The precision at a score counts all samples that score as high or higher, so equal scores stand or fall together.
    """
    score_N = _checked(score_N, positive_N, weight_BN)
    positives, negatives = (
        members[np.argsort(-score_N[members])] for members in (np.flatnonzero(positive_N), np.flatnonzero(~positive_N))
    )
    hits_P = np.searchsorted(-score_N[positives], -score_N[positives], side="right")
    misses_P = np.searchsorted(-score_N[negatives], -score_N[positives], side="right")
    average_B = np.empty(len(weight_BN))
    for rows in chunks(weight_BN):
        reached_RP = cumulative(weight_BN[rows], positives)
        hits_RP = reached_RP[:, hits_P]
        found_RP = hits_RP + cumulative(weight_BN[rows], negatives)[:, misses_P]
        precision_RP = hits_RP / np.where(found_RP > 0, found_RP, 1)  # nothing found: the positive's own weight is 0
        average_B[rows] = ratio((np.diff(reached_RP) * precision_RP).sum(axis=1), reached_RP[:, -1])
    return average_B


def _checked(score_N: Array, positive_N: Array, weight_BN: Array) -> Array:
    if score_N.shape != positive_N.shape:
        raise ValueError(f"scores of shape {score_N.shape} for positives of shape {positive_N.shape}")
    checked_flags(positive_N, "positive")
    check_weights(weight_BN, len(score_N))
    return checked_numbers(score_N, "score")
