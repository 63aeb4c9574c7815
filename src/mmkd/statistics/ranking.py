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
    macro,
    ratio,
    row_blocks,
    wide,
)

FEW = 32  # positives a class, up to which products beat sorting the negatives of each class
PRODUCT_CELLS, SUM_CELLS = 2**23, 2**24  # of a matrix in a product, of one with the sums of all classes
EXACT_FLOAT32 = 2**24  # whole numbers below it are exact


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


def macro_auc(score_NC: Array, member_NC: Array, weight_BN: Array) -> Array:
    """`macro(auc, ...)`, the same value; thousands of classes with few positives each take products, not sorts; (B,).

    Raises ValueError as `macro` and `auc` do.
    """
    class_P, place_P = np.nonzero(member_NC.T)
    if score_NC.shape != member_NC.shape or not score_NC.shape[1] or len(class_P) > FEW * score_NC.shape[1]:
        return macro(auc, score_NC, member_NC, weight_BN)
    checked_flags(member_NC, "positive")
    for rows in row_blocks(score_NC):
        checked_numbers(score_NC[rows], "score")
    check_weights(weight_BN, len(score_NC))
    mean_B = np.empty(len(weight_BN))
    step = max(1, SUM_CELLS // max(score_NC.shape))
    for start in range(0, len(weight_BN), step):
        weight_NR = weight_BN[start : start + step].T.astype(np.float64)
        mean_B[start : start + step] = _macro_auc(score_NC, member_NC, class_P, place_P, weight_NR)
    return mean_B


def _macro_auc(score_NC: Array, member_NC: Array, class_P: Array, place_P: Array, weight_NR: Array) -> Array:
    """class_P, place_P: class and sample of each positive."""
    total_R = weight_NR.sum(axis=0)
    whole = bool((weight_NR == np.floor(weight_NR)).all()) and 2 * total_R.max() < EXACT_FLOAT32
    factor_NR = weight_NR.astype(np.float32) if whole else weight_NR
    twice_CR, positive_CR = np.zeros((2, score_NC.shape[1], weight_NR.shape[1]))
    step = max(1, PRODUCT_CELLS // len(score_NC))
    columns = [slice(start, start + step) for start in range(0, weight_NR.shape[1], step)]
    for start in range(0, len(class_P), step):
        class_Q, place_Q = class_P[start : start + step], place_P[start : start + step]
        own_Q1 = score_NC[place_Q, class_Q][:, None]
        other_QN = score_NC[:, class_Q].T
        beaten_QN = np.add(other_QN < own_Q1, other_QN <= own_Q1, dtype=factor_NR.dtype)  # 2 below, 1 level
        beaten_QN[member_NC[:, class_Q].T] = 0
        present_G, first_G = np.unique(class_Q, return_index=True)
        for some in columns:
            own_QR = weight_NR[place_Q, some]
            twice_CR[present_G, some] += np.add.reduceat((beaten_QN @ factor_NR[:, some]) * own_QR, first_G, axis=0)
            positive_CR[present_G, some] += np.add.reduceat(own_QR, first_G, axis=0)
    return np.asarray(ratio(twice_CR, 2 * positive_CR * (total_R - positive_CR)).mean(axis=0))


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
