"""Metrics of weighted samples, for many weightings at once.

B weightings (bootstrap replicates), N samples, C classes, K quantities, R the weightings of one chunk.
A weight is how often a sample was drawn, so each metric equals the usual one on the resample with that many copies;
weights of one give the plain metric, and any weights from zero on will do. A replicate in which a metric is not defined
(a class was not drawn) gets NaN, for the caller to count. Wrong shapes, flags that are not booleans and numbers that
are not finite raise ValueError.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

CHUNK_CELLS = 2**18  # weights turned into eight bytes at once: 2 MiB, which stay in a core's cache
BLOCK_CELLS = 2**16  # of rows that are worked on at once


def accuracy(correct_N: Array, weight_BN: Array) -> Array:
    """Share of samples that are correct, 0..1; shape (B,)."""
    return weighted_mean(checked_flags(correct_N, "correct"), weight_BN)


def balanced_accuracy(correct_N: Array, label_N: Array, weight_BN: Array) -> Array:
    """Mean over the classes among the labels of the share that is correct, 0..1; shape (B,)."""
    number_N = np.unique(label_N, return_inverse=True)[1]
    right_N = checked_flags(correct_N, "correct")
    member_BC = group_sums(weight_BN, number_N)
    right_BC = group_sums(weight_BN, number_N, right_N, member_BC.shape[1])
    return np.asarray(ratio(right_BC, member_BC).mean(axis=1))


def f1(guess_N: Array, positive_N: Array, weight_BN: Array) -> Array:
    """2 TP / (2 TP + FP + FN) of boolean guesses, 0..1; shape (B,). NaN where no positive was drawn.

    (It would be zero there for every model, and says nothing of any.)
    """
    guess_N, positive_N = checked_flags(guess_N, "guess"), checked_flags(positive_N, "positive")
    flags_NK = np.stack([guess_N & positive_N, guess_N, positive_N], axis=1)
    hits_B, guesses_B, positives_B = weighted_sums(weight_BN, flags_NK).T
    return np.where(positives_B > 0, ratio(2 * hits_B, guesses_B + positives_B), np.nan)


def macro_f1(guess_N: Array, label_N: Array, classes: int, weight_BN: Array) -> Array:
    """`macro(f1, ...)` of one guess and one label a sample, in time that does not grow with the classes; (B,)."""
    hits_BC = group_sums(weight_BN, label_N, guess_N == label_N, classes)
    guesses_BC, positives_BC = (group_sums(weight_BN, number_N, classes=classes) for number_N in (guess_N, label_N))
    f1_BC = np.where(positives_BC > 0, ratio(2 * hits_BC, guesses_BC + positives_BC), np.nan)
    return np.asarray(f1_BC.mean(axis=1))


def macro(
    metric: Callable[[Array, Array, Array], Array], value_NC: Array, positive_NC: Array, weight_BN: Array
) -> Array:
    """Mean over the C columns of a metric of one column (`auc`, `average_precision`, `f1`), each counting once; (B,).

    For one label a sample pass `one_vs_rest(label_N, C)`, for several its indicators. NaN where a column has NaN.
    """
    if value_NC.ndim != 2 or value_NC.shape != positive_NC.shape or not value_NC.shape[1]:
        raise ValueError(f"columns of shapes {value_NC.shape} and {positive_NC.shape}, expected (N, C) twice, C > 0")
    per_column = [metric(value_NC[:, c], positive_NC[:, c], weight_BN) for c in range(value_NC.shape[1])]
    return np.asarray(np.mean(per_column, axis=0))


def check_labels(label_N: Array, classes: int) -> None:
    """Raises ValueError for labels outside 0..classes-1."""
    strangers = sorted(set(np.unique(label_N).tolist()) - set(range(classes)))
    if strangers:
        raise ValueError(f"labels {strangers} among the samples, expected 0..{classes - 1}")


def one_vs_rest(label_N: Array, classes: int) -> Array:
    """Whether a sample belongs to a class; boolean (N, C). Raises ValueError for labels outside 0..classes-1."""
    check_labels(label_N, classes)
    return np.asarray(label_N[:, None] == np.arange(classes))


def recall_at(k: int, rank_N: Array, weight_BN: Array) -> Array:
    """Share of queries whose best positive ranks k-th or better (ranks from 1), 0..1; shape (B,)."""
    return weighted_mean(checked_numbers(rank_N, "rank") <= k, weight_BN)


def median(value_N: Array, weight_BN: Array) -> Array:
    """The median, the mean of the two middle values where their number is even; shape (B,). Weights must be counts."""
    check_weights(weight_BN, len(value_N))
    if weight_BN.dtype.kind not in "biu":
        raise ValueError(f"weights of {weight_BN.dtype}, expected whole numbers: a median counts its samples")
    order_N = np.argsort(checked_numbers(value_N, "value"), kind="stable")
    median_B = np.empty(len(weight_BN))
    for rows in chunks(weight_BN):
        reached_RN = cumulative(weight_BN[rows], order_N)[:, 1:]
        total_R = reached_RN[:, -1]
        places = ((total_R - 1) // 2, total_R // 2)
        middle = [value_N[order_N][(reached_RN > place_R[:, None]).argmax(axis=1)] for place_R in places]
        median_B[rows] = np.where(total_R > 0, (middle[0] + middle[1]) / 2, np.nan)
    return median_B


def weighted_mean(value_N: Array, weight_BN: Array) -> Array:
    """Shape (B,)."""
    part_B, whole_B = weighted_sums(weight_BN, np.stack([value_N, np.ones(len(value_N))], axis=1)).T
    return ratio(part_B, whole_B)


def weighted_sums(weight_BN: Array, value_NK: Array) -> Array:
    """Sum over the samples of weight times value; float64 (B, K), exact for whole numbers."""
    check_weights(weight_BN, len(value_NK))
    value_NK = value_NK.astype(np.float64)
    sum_BK = np.empty((len(weight_BN), value_NK.shape[1]))
    for rows in chunks(weight_BN):
        np.matmul(weight_BN[rows], value_NK, out=sum_BK[rows])
    return sum_BK


def group_sums(weight_BN: Array, number_N: Array, taken_N: Array | None = None, classes: int | None = None) -> Array:
    """The weight of the taken samples of each group 0..C-1, all of them without flags; float64 (B, C)."""
    check_weights(weight_BN, len(number_N))
    taken = np.arange(len(number_N)) if taken_N is None else np.flatnonzero(taken_N)
    order_M = taken[np.argsort(number_N[taken], kind="stable")]
    present_G, first_G = np.unique(number_N[order_M], return_index=True)
    sum_BC = np.zeros((len(weight_BN), int(number_N.max()) + 1 if classes is None else classes))
    if len(order_M):
        for rows in chunks(weight_BN):
            sum_BC[rows, present_G] = np.add.reduceat(weight_BN[rows][:, order_M], first_G, axis=1, dtype=np.float64)
    return sum_BC


def cumulative(weight_RN: Array, order_M: Array) -> Array:
    """The weight of the first m samples in the given order, m = 0..M; (R, M + 1), whole numbers where weights are."""
    reached_RM = np.zeros((len(weight_RN), len(order_M) + 1), wide(weight_RN))
    np.cumsum(weight_RN[:, order_M], axis=1, dtype=reached_RM.dtype, out=reached_RM[:, 1:])
    return reached_RM


def wide(weight_BN: Array) -> type[np.int64] | type[np.float64]:
    """The type in which weights are added: whole numbers stay exact, and are added faster."""
    return np.float64 if weight_BN.dtype.kind == "f" else np.int64


def chunks(weight_BN: Array) -> Iterator[slice]:
    """Rows to be worked on at once."""
    rows = max(1, CHUNK_CELLS // weight_BN.shape[1])
    for start in range(0, len(weight_BN), rows):
        yield slice(start, start + rows)


def row_blocks(value_NC: Array) -> Iterator[slice]:
    """Rows that stay in the processor's cache while they are worked on."""
    rows = max(1, BLOCK_CELLS // max(1, value_NC.shape[1]))
    for start in range(0, len(value_NC), rows):
        yield slice(start, start + rows)


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, NaN where whole is zero."""
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0))


def check_weights(weight_BN: Array, samples: int) -> None:
    """Raises ValueError unless the weights are numbers from zero on, one column for each of at least one sample."""
    if weight_BN.ndim != 2 or weight_BN.shape[1] != samples or not samples:
        raise ValueError(f"weights of shape {weight_BN.shape} for {samples} samples, expected (B, N) with N > 0")
    if weight_BN.dtype.kind not in "biuf":
        raise ValueError(f"weights of {weight_BN.dtype}, expected numbers")
    if weight_BN.dtype.kind in "if" and not ((weight_BN >= 0) & np.isfinite(weight_BN)).all():
        raise ValueError("weights that are negative or not finite, expected numbers from zero on")


def checked_flags(flag: Array, name: str) -> Array:
    """The flags. Raises ValueError when they are not booleans: `~` of 0 and 1 would be -1 and -2."""
    if flag.dtype != np.bool_:
        raise ValueError(f"{name}: found {flag.dtype}, expected booleans")
    return flag


def checked_numbers(value: Array, name: str) -> Array:
    """The numbers as float64. Raises ValueError when one is not finite, since NaN has no rank."""
    value = np.asarray(value, np.float64)
    if broken := int(np.count_nonzero(~np.isfinite(value))):
        raise ValueError(f"{name}: {broken} of {value.size} are not finite, expected numbers")
    return value
