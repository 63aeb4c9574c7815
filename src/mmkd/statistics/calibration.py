"""How far probabilities can be believed, and temperature scaling; see `metrics` for what weights mean.

B weightings, N samples, C classes, K bins, R the weightings of one chunk. A confidence is the probability of what is
claimed (the top class, or the positive one), and `correct` says whether the claim is true.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from mmkd.statistics.metrics import (
    Array,
    check_labels,
    check_weights,
    checked_flags,
    checked_numbers,
    chunks,
    cumulative,
    ratio,
    row_blocks,
    weighted_mean,
    weighted_sums,
)

BINS = 15  # as in Guo et al. 2017
EDGE = 1e-9  # in bins: sums of real weights may fall short of an edge that they meet
ROUNDING = 1e-4  # by which a row of probabilities may miss one: float16 scores through a softmax
BOUNDS = (1e-4, 1e4)  # cosines ask for about 0.01, logits of a trained head for about 1


@dataclass(frozen=True)
class ReliabilityBin:
    """The samples whose confidence lies in (low, high]: how many, their mean confidence, the share that is correct."""

    low: float
    high: float
    count: int
    confidence: float
    correct: float


def brier(probability_NC: Array, positive_NC: Array, weight_BN: Array) -> Array:
    """Mean squared distance of the probabilities from the truth, 0..2; (B,). Brier 1950, his own sum over the classes.

    Raises ValueError for rows that do not sum to one.
    """
    _check_shapes(probability_NC, positive_NC)
    off_N, distance_N = np.empty((2, len(probability_NC)))
    for rows in row_blocks(probability_NC):
        _check_probabilities(probability_NC[rows], positive_NC[rows])
        off_N[rows] = np.abs(probability_NC[rows].sum(axis=1) - 1)
        distance_N[rows] = ((probability_NC[rows] - positive_NC[rows]) ** 2).sum(axis=1)
    if (off := off_N.max(initial=0)) > ROUNDING:
        raise ValueError(f"probabilities of a sample sum to one give or take {off:.3g}, expected {ROUNDING} at most")
    return weighted_mean(distance_N, weight_BN)


def ece_equal_width(confidence_N: Array, correct_N: Array, weight_BN: Array, bins: int = BINS) -> Array:
    """Expected calibration error, 0..1: mean over the samples of |mean confidence - share correct| of their bin; (B,).

    K bins ((k - 1) / K, k / K], zero belonging to the first (Naeini et al. 2015; Guo et al. 2017).
    """
    bin_N = _equal_width_bins(confidence_N, correct_N, bins)
    gap_NK = np.where(bin_N[:, None] == np.arange(bins), (confidence_N - correct_N)[:, None], 0.0)
    gap_BK = weighted_sums(weight_BN, gap_NK)
    return ratio(np.abs(gap_BK).sum(axis=1), weight_BN.sum(axis=1, dtype=np.float64))


def ece_equal_mass(confidence_N: Array, correct_N: Array, weight_BN: Array, bins: int = BINS) -> Array:
    """As `ece_equal_width`, with bins that hold equal shares of the weight of each weighting (Nguyen, O'Connor 2015).

    Samples of one confidence stay together, in the bin where the middle of their weight lies: copies of a sample are
    not torn apart, and a constant confidence makes one bin.
    """
    _check_probabilities(confidence_N, correct_N)
    _check_bins(bins)
    check_weights(weight_BN, len(confidence_N))
    order_N = np.argsort(confidence_N)
    sorted_N = confidence_N[order_N]
    gap_N = sorted_N - correct_N[order_N]
    below_N, level_N = (np.searchsorted(sorted_N, sorted_N, side=side) for side in ("left", "right"))
    error_B = np.empty(len(weight_BN))
    for rows in chunks(weight_BN):
        reached_RN = cumulative(weight_BN[rows], order_N)
        total_R = reached_RN[:, -1]
        middle_RN = ratio((reached_RN[:, below_N] + reached_RN[:, level_N]) * bins, 2 * total_R[:, None])
        bin_RN = np.clip(np.nan_to_num(middle_RN + EDGE), 0, bins - 1).astype(np.int64)
        cell_RN = bin_RN + bins * np.arange(len(bin_RN))[:, None]
        gap_RN = np.diff(reached_RN) * gap_N
        gap_RK = np.bincount(cell_RN.ravel(), gap_RN.ravel(), minlength=len(bin_RN) * bins).reshape(-1, bins)
        error_B[rows] = ratio(np.abs(gap_RK).sum(axis=1), total_R)
    return error_B


def reliability_curve(confidence_N: Array, correct_N: Array, bins: int = BINS) -> list[ReliabilityBin]:
    """The bins of `ece_equal_width` that hold samples, from low to high confidence."""
    bin_N = _equal_width_bins(confidence_N, correct_N, bins)
    edge_K1 = np.linspace(0, 1, bins + 1).tolist()
    return [
        ReliabilityBin(
            low=edge_K1[k],
            high=edge_K1[k + 1],
            count=int(np.count_nonzero(bin_N == k)),
            confidence=float(confidence_N[bin_N == k].mean()),
            correct=float(correct_N[bin_N == k].mean()),
        )
        for k in np.unique(bin_N).tolist()
    ]


def _equal_width_bins(confidence_N: Array, correct_N: Array, bins: int) -> Array:
    _check_probabilities(confidence_N, correct_N)
    _check_bins(bins)
    inner_edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.asarray(np.searchsorted(inner_edges, confidence_N, side="left"))


def _check_shapes(probability: Array, truth: Array) -> None:
    if probability.shape != truth.shape:
        raise ValueError(f"probabilities of shape {probability.shape} for truths of shape {truth.shape}")


def _check_probabilities(probability: Array, truth: Array) -> None:
    _check_shapes(probability, truth)
    checked_flags(truth, "truth")
    outside = int(np.count_nonzero(np.abs(checked_numbers(probability, "probability") - 0.5) > 0.5))
    if outside:
        raise ValueError(f"{outside} probabilities lie outside 0..1; apply softmax or sigmoid to scores first")


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise ValueError(f"{bins} bins, expected 1 or more")


@dataclass(frozen=True)
class Temperature:
    """softmax(score / value).

    at_bound: the loss falls up to the end of `BOUNDS`: every sample is right by some margin (too low), or the scores
    say nothing of the labels (too high). Then the value is the bound and no optimum.
    """

    value: float
    at_bound: bool


def bounded_temperature(score_NC: Array, label_N: Array, samples: int) -> Temperature:
    """A temperature for samples that are all right, of which `fit_temperature` finds none: the smaller the better.

    Of each sample the label gets the share 1 - s of the target and the other classes s together, s = 1 / (samples + 2):
    what is to be expected of the next sample where none of so many was wrong. These are Platt's targets (1999, section
    2.2) for samples that can be separated. samples: how many are independent of each other.
    """
    return fit_temperature(score_NC, label_N, 1 / (samples + 2))


def fit_temperature(score_NC: Array, label_N: Array, wrong: float = 0.0) -> Temperature:
    """The temperature that minimises the mean negative log-likelihood of validation samples (Guo et al. 2017).

    wrong: share of the target that the classes other than the label have together, each the same; below 1 - 1/C.

    The loss is convex in the inverse temperature a, and its slope, mean(expected score - score of the label), grows
    with a: the optimum is the slope's only zero. Order and accuracy do not change. Fit on validation samples, never on
    those that are reported. A binary classifier has the columns 0 and its logit. Raises ValueError for scores that are
    not finite, fewer than two columns, no samples, or labels outside 0..C-1.
    """
    from scipy.optimize import brentq  # takes 0.3 s to import, which recipes are read without

    if score_NC.ndim != 2 or score_NC.shape[1] < 2 or label_N.shape != score_NC.shape[:1] or not len(label_N):
        raise ValueError(f"scores {score_NC.shape} for labels {label_N.shape}, expected (N, C) and (N,), N > 0, C > 1")
    check_labels(label_N, score_NC.shape[1])
    for rows in row_blocks(score_NC):
        checked_numbers(score_NC[rows], "score")
    own_N1 = np.take_along_axis(score_NC, label_N.astype(np.int64)[:, None], axis=1).astype(np.float64)

    @cache  # the search asks again at both ends
    def slope(log_temperature: float) -> float:
        factor, slope_N = np.exp(-log_temperature), np.empty(len(score_NC))
        for rows in row_blocks(score_NC):
            relative_RC = score_NC[rows] - own_N1[rows]  # the label's own score is zero: nothing cancels in the slope
            share_RC = relative_RC * factor  # a softmax from here on, in place
            share_RC -= share_RC.max(axis=1, keepdims=True)
            np.exp(share_RC, out=share_RC)
            share_RC /= share_RC.sum(axis=1, keepdims=True)
            slope_N[rows] = ((share_RC - wrong / (score_NC.shape[1] - 1)) * relative_RC).sum(axis=1)
        return float(slope_N.mean())

    low, high = np.log(BOUNDS)
    at_bound = True
    if slope(high) >= 0:
        value = BOUNDS[1]
    elif slope(low) <= 0:
        value = BOUNDS[0]
    else:
        value, at_bound = float(np.exp(brentq(slope, low, high, xtol=1e-12))), False
    return Temperature(value, at_bound)
