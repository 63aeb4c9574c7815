"""Two models on the same samples: tests that need no resampling.

N samples, P positives, M negatives, Q models. The samples must be independent: where several belong to one patient, use
the bootstrap by groups instead.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom, rankdata

from mmkd.statistics.metrics import Array, checked_flags, checked_numbers


@dataclass(frozen=True)
class AucDifference:
    """AUC of the first model minus that of the second, with its normal interval. p: two-sided, of no difference.

    p is None where the AUCs differ and yet no placement varies (perfect separation by one): there is nothing to
    estimate the error from. Models that order all pairs alike have p = 1.
    """

    difference: float
    standard_error: float
    low: float
    high: float
    p: float | None


@dataclass(frozen=True)
class McNemar:
    """first_only, second_only: samples that only this model gets right. p_exact, p_mid: two-sided, of no difference."""

    first_only: int
    second_only: int
    p_exact: float
    p_mid: float


def placements(score_N: Array, positive_N: Array) -> tuple[Array, Array]:
    """For each positive the share of negatives below it, for each negative the share of positives above it; ties half.

    Shapes (P,) and (M,), 0..1; the mean of either is the AUC. By mid-ranks, O(N log N) (Sun and Xu, IEEE Signal
    Processing Letters 2014). Raises ValueError unless there are two positives and two negatives: one has no variance.
    """
    if score_N.shape != positive_N.shape:
        raise ValueError(f"scores of shape {score_N.shape} for positives of shape {positive_N.shape}")
    score_N, positive_N = checked_numbers(score_N, "score"), checked_flags(positive_N, "positive")
    positive_P, negative_M = score_N[positive_N], score_N[~positive_N]
    if min(len(positive_P), len(negative_M)) < 2:
        raise ValueError(f"{len(positive_P)} positives and {len(negative_M)} negatives, expected two of both")
    rank_N = rankdata(score_N)
    of_positive_P = (rank_N[positive_N] - rankdata(positive_P)) / len(negative_M)
    of_negative_M = 1 - (rank_N[~positive_N] - rankdata(negative_M)) / len(positive_P)
    return of_positive_P, of_negative_M


def delong_macro_test(first_N2: Array, second_N2: Array, label_N: Array, confidence: float = 0.95) -> AucDifference:
    """Whether two models' means of both classes' one-vs-rest AUCs on the same samples differ; `difference` in -1..1.

    DeLong et al., Biometrics 1988. The two columns need not be complements: what a sample of one class wins against the
    other class is the mean of its placements in the two AUCs, so their mean has a variance of the same form.
    """
    first, second = _macro(first_N2, label_N), _macro(second_N2, label_N)
    # differences of the placements rather than a contrast of covariances: alike models have variance zero, exactly
    gap_P, gap_M = first[0] - second[0], first[1] - second[1]
    difference = float(gap_P.mean())
    error = float(np.sqrt(gap_P.var(ddof=1) / len(gap_P) + gap_M.var(ddof=1) / len(gap_M)))
    reach = float(ndtri((1 + confidence) / 2)) * error
    if error > 0:
        p: float | None = float(2 * ndtr(-abs(difference) / error))
    else:
        p = 1.0 if difference == 0 else None
    return AucDifference(difference, error, difference - reach, difference + reach, p)


def _macro(score_N2: Array, label_N: Array) -> tuple[Array, Array]:
    """Of the samples of class 1 and of class 0, the mean of their placements in both AUCs."""
    zero, one = (placements(score_N2[:, c], label_N == c) for c in range(2))
    return (one[0] + zero[1]) / 2, (one[1] + zero[0]) / 2


def mcnemar(first_N: Array, second_N: Array) -> McNemar:
    """Whether two models are right equally often, from the samples that only one of them gets right.

    Given their number these are tosses of a fair coin: exact binomial p, and mid-p, which counts half of what is as
    probable as the outcome and is less conservative (Fagerland, Lydersen, Laake, BMC Med Res Methodol 2013).
    """
    if first_N.shape != second_N.shape:
        raise ValueError(f"{first_N.shape} and {second_N.shape} samples, expected the same")
    for name, correct_N in (("first", first_N), ("second", second_N)):
        checked_flags(correct_N, name)
    first_only = int(np.count_nonzero(first_N & ~second_N))
    second_only = int(np.count_nonzero(second_N & ~first_N))
    coin = binom(first_only + second_only, 0.5)
    fewer = min(first_only, second_only)
    both_tails = 2 * float(coin.cdf(fewer))
    return McNemar(first_only, second_only, min(1.0, both_tails), both_tails - float(coin.pmf(fewer)))
