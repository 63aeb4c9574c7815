"""What several data sets say together about several models.

S data sets, Q models, K hypotheses, B replicates. Each data set counts once, whatever its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from mmkd.statistics.bootstrap import plan_draws, stream
from mmkd.statistics.metrics import Array, checked_numbers

Resampled = Literal["samples", "data sets and samples"]


@dataclass(frozen=True)
class CriticalDifference:
    """What a critical-difference diagram shows. mean_rank_Q: 1 is best.

    statistic, p: Friedman's test of all models being equal. difference: two mean ranks that are this far apart differ
    (Nemenyi). alike: the models, best first, of every largest group in which no two are so far apart.
    """

    mean_rank_Q: Array
    statistic: float
    p: float
    difference: float
    alike: list[tuple[int, ...]]


def macro_replicates(value_SB: Array, resampled: Resampled, seed: Sequence[int], family_S: Sequence[str] = ()) -> Array:
    """Replicates of the mean over the data sets, from those of each data set, drawn independently; shape (B,).

    "samples": the data sets are the ones of interest, only their samples are drawn anew. "data sets and samples": they
    stand for others like them, so data sets are drawn with replacement (families whole, where families are given, since
    overlapping sets are not independent) and for each draw one of its replicates: wider, and the interval to give for
    "better in general", though few data sets still make it too narrow. The same seed gives all models the same draws,
    so differences are paired. A replicate that met an undefined one is NaN.
    """
    sets, replicates = value_SB.shape
    if resampled == "samples":
        return np.asarray(value_SB.mean(axis=0))
    draws = plan_draws(list(family_S) or [""] * sets, None, replicates, seed)
    count_BS = np.concatenate(list(draws.blocks()))
    rng = stream(seed, len(draws.strata))  # the one after those of the draws
    sum_B = np.zeros(replicates)
    for copy in range(int(count_BS.max())):  # a data set that is drawn twice brings two replicates of its own
        picked_BS = value_SB[np.arange(sets), rng.integers(replicates, size=(replicates, sets))]
        sum_B += np.where(count_BS > copy, picked_BS, 0).sum(axis=1)
    return np.asarray(sum_B / count_BS.sum(axis=1))


def holm(p_K: Array) -> Array:
    """p-values adjusted for their number (Holm 1979); shape (K,), never below p.

    Calling those up to alpha significant makes one false call or more with a probability of at most alpha, however the
    K hypotheses depend on each other. Raises ValueError for what is no probability.
    """
    p_K = checked_numbers(p_K, "p")
    if ((p_K < 0) | (p_K > 1)).any():
        raise ValueError(f"p-values from {p_K.min()} to {p_K.max()}, expected 0..1")
    order_K = np.argsort(p_K, kind="stable")
    adjusted_K = np.empty(len(p_K))
    adjusted_K[order_K] = np.minimum(1, np.maximum.accumulate(p_K[order_K] * np.arange(len(p_K), 0, -1)))
    return adjusted_K


def signed_rank(first_S: Array, second_S: Array) -> float:
    """Two-sided p of Wilcoxon's signed-rank test: is one of two models better over data sets (Demsar, JMLR 2006)?

    Equal results are dropped, as Wilcoxon did. It is exact, with ties among the differences too: the
    distribution of the rank sum over all signs. Differences that should tie must be equal as numbers; round them first.
    """
    from scipy.stats import rankdata  # where it is needed: recipes are read without scipy

    difference_S = checked_numbers(first_S, "first") - checked_numbers(second_S, "second")
    difference_S = difference_S[difference_S != 0]
    rank_S = rankdata(np.abs(difference_S))
    better, worse = float(rank_S[difference_S > 0].sum()), float(rank_S[difference_S < 0].sum())
    twice_S = np.rint(2 * rank_S).astype(int)  # mid-ranks are halves
    chance = np.zeros(twice_S.sum() + 1)  # of every value of twice the rank sum
    chance[0] = 1.0
    for twice in twice_S.tolist():
        chance = (chance + np.concatenate([np.zeros(twice), chance[:-twice]])) / 2
    return min(1.0, 2 * float(chance[: round(2 * min(better, worse)) + 1].sum()))


def pairwise_signed_ranks(score_SQ: Array) -> Array:
    """p of `signed_rank` for every pair of models, adjusted by `holm` over the pairs; (Q, Q), ones on the diagonal."""
    pairs = list(combinations(range(score_SQ.shape[1]), 2))
    p_QQ = np.ones((score_SQ.shape[1],) * 2)
    adjusted = holm(np.array([signed_rank(score_SQ[:, i], score_SQ[:, j]) for i, j in pairs]))
    for (i, j), p in zip(pairs, adjusted.tolist(), strict=True):
        p_QQ[i, j] = p_QQ[j, i] = p
    return p_QQ


def critical_difference(score_SQ: Array, confidence: float = 0.95) -> CriticalDifference:
    """Rank the models on every data set (higher scores are better, ties share) and compare the mean ranks.

    Friedman's test with its correction for ties, then Nemenyi's (Demsar 2006). Nemenyi's verdict on two models depends
    on which others stand beside them (Benavoli et al. 2016): `pairwise_signed_ranks` with `alike_groups` does not.
    Raises ValueError for fewer than two data sets or models.
    """
    from scipy.stats import chi2, rankdata, studentized_range  # where it is needed: recipes are read without scipy

    if score_SQ.ndim != 2 or min(score_SQ.shape) < 2:
        raise ValueError(f"scores of shape {score_SQ.shape}, expected two or more data sets by two or more models")
    rank_SQ = rankdata(-checked_numbers(score_SQ, "score"), axis=1)
    (sets, models), mean_rank_Q = rank_SQ.shape, rank_SQ.mean(axis=0)
    middle = (models + 1) / 2
    between, within = sets**2 * ((mean_rank_Q - middle) ** 2).sum(), ((rank_SQ - middle) ** 2).sum()
    statistic = float((models - 1) * between / within) if within else 0.0  # all equal on every data set
    quantile = float(studentized_range.ppf(confidence, models, np.inf)) / np.sqrt(2)
    difference = float(quantile * np.sqrt(models * (models + 1) / (6 * sets)))
    alike_QQ = np.abs(mean_rank_Q[:, None] - mean_rank_Q) < difference
    return CriticalDifference(
        mean_rank_Q, statistic, float(chi2.sf(statistic, models - 1)), difference, alike_groups(mean_rank_Q, alike_QQ)
    )


def alike_groups(mean_rank_Q: Array, alike_QQ: Array) -> list[tuple[int, ...]]:
    """The largest runs of models in the order of their mean ranks of which all pairs are alike: a diagram's bars.

    Two models or more each; a run within another is left out. Where alikeness does not follow the ranks (Wilcoxon's
    may not), alike models with an unlike one between them get no bar.
    """
    order = np.argsort(mean_rank_Q, kind="stable").tolist()
    runs: list[tuple[int, ...]] = []
    reached = 0
    for first in range(len(order)):
        end = first + 1
        while end < len(order) and alike_QQ[order[first:end], order[end]].all():
            end += 1
        if end - first > 1 and end > reached:
            runs.append(tuple(order[first:end]))
            reached = end
    return runs
