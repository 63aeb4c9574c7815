"""How reliable each teacher is on each modality, measured on the corpus itself.

The rank test: how high does a teacher place a pair's own caption among captions of the *same group* (modality or
cluster), and a caption's own image among such images? Against the whole corpus it would only ask whether the teacher
knows the modality. The mean over a group averages out captions that are wrong, which ruin the test sample by sample.
Letters: N rows of the group, B of them at once, R rivals a row, P pairs of a row and a rival, D the teacher's
dimension, M groups, K teachers.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmkd.statistics.across_sets import holm

Correction = Literal["holm", "none"]
WIDENED = 2**27  # bytes of keys, and of rivals, that are held as float32
TOGETHER = 16  # queries whose rivals are multiplied at once: more do not stay in a core's cache
ROUNDING = 1e-5  # of a product of float32 vectors, for its lengths: far above what it is


@dataclass(frozen=True)
class RankTest:
    """percentile: mean rank of the own partner in 0..1, .5 = chance. se: its standard error over the n rows."""

    percentile: float
    se: float
    n: int

    @property
    def advantage(self) -> float:
        """The percentile over chance, scaled so that a perfect teacher on right captions has 1."""
        return 2.0 * (self.percentile - 0.5)

    @property
    def variance(self) -> float:
        """Of the advantage of a teacher that guesses.

        Among n rows a guessed rank is uniform on n values, so its variance is (n + 1) / (12 (n - 1)). The observed
        `se` would do for many rows; for few it is often 0.
        """
        return math.inf if self.n < 2 else (self.n + 1) / (3 * (self.n - 1) * self.n)


def own_percentile(
    query_ND: np.ndarray, key_ND: np.ndarray, rivals: int, generator: np.random.Generator, block: int = 2048
) -> np.ndarray:
    """For each query, the share of `rivals` random other keys that its own key beats (N,); ties count half.

    block: queries whose rivals are drawn at once; another gives other rivals. Memory beside the arguments: WIDENED
    bytes for the keys and WIDENED for rivals.
    """
    count, dim = key_ND.shape
    percentile_N = np.empty(count)
    wide_ND = key_ND.astype(np.float32) if count * dim * 4 <= WIDENED else key_ND
    together = max(1, min(TOGETHER, WIDENED // (4 * dim * rivals)))
    longest = max(_longest(key_ND[first : first + block]) for first in range(0, count, block)) if count else 0.0
    for first in range(0, count, block):
        row_N = np.arange(first, min(first + block, count))
        shift_NR = generator.integers(1, count, size=(len(row_N), rivals))  # 1..N-1: never the own key
        for start in range(0, len(row_N), together):
            row_B, shift_BR = (part[start : start + together] for part in (row_N, shift_NR))
            rival_BR = (row_B[:, None] + shift_BR) % count
            query_BD = query_ND[row_B].astype(np.float32)
            percentile_N[row_B] = _beaten(query_BD, wide_ND, row_B, rival_BR, longest).mean(axis=1)
    return percentile_N


def _beaten(
    query_BD: np.ndarray, key_ND: np.ndarray, own_B: np.ndarray, rival_BR: np.ndarray, longest: float
) -> np.ndarray:
    """Which rivals have a smaller product with the query than the own key (B, R): 1, 0, and 0.5 for an equal one.

    longest: the length of the longest key.
    A product of matrices is quick, and its rounding depends on a key's place; so where it is near the own product, the
    sum is taken again in the order of the own one: equal keys are equal, and no blocks change the result.
    """
    own_B1 = np.einsum("bd,bd->b", query_BD, key_ND[own_B].astype(np.float32))[:, None]
    rival_BRD = key_ND[rival_BR].astype(np.float32, copy=False)
    other_BR = np.matmul(rival_BRD, query_BD[:, :, None])[:, :, 0]
    length_B1 = longest * np.linalg.norm(query_BD, axis=1)[:, None]
    b_P, r_P = np.nonzero(np.abs(other_BR - own_B1) <= ROUNDING * length_B1)
    other_BR[b_P, r_P] = np.einsum("pd,pd->p", query_BD[b_P], rival_BRD[b_P, r_P])
    return np.asarray((other_BR < own_B1) + 0.5 * (other_BR == own_B1))


def _longest(key_ND: np.ndarray) -> float:
    return float(np.linalg.norm(key_ND.astype(np.float32), axis=1).max())


def both_ways(image_ND: np.ndarray, text_ND: np.ndarray, rivals: int, generator: np.random.Generator) -> np.ndarray:
    """`own_percentile` of each pair (N,), the mean of image to text and text to image."""
    forward_N = own_percentile(image_ND, text_ND, rivals, generator)
    return np.asarray((forward_N + own_percentile(text_ND, image_ND, rivals, generator)) / 2)


def rank_test(image_ND: np.ndarray, text_ND: np.ndarray, rivals: int, generator: np.random.Generator) -> RankTest:
    """The rank test of one teacher on the rows of one group, the mean of both directions.

    Fewer than two rows give chance with an infinite standard error: nothing is known.
    """
    count = len(image_ND)
    if count < 2:
        return RankTest(0.5, math.inf, count)
    both_N = both_ways(image_ND, text_ND, rivals, generator)
    return RankTest(float(both_N.mean()), float(both_N.std(ddof=1) / math.sqrt(count)), count)


def shrunk(advantage_MK: np.ndarray, variance_MK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to expect of each teacher in each group: mean and standard deviation, both (M, K).

    Empirical Bayes: a teacher's advantages scatter over the groups by tau^2 around its mean (DerSimonian and Laird's
    estimate), so an advantage measured on few rows says less than that mean and is drawn towards it, by
    variance / (variance + tau^2). On hundreds of rows it stays as measured. Groups of infinite variance get the mean
    alone; a teacher measured in fewer than two groups keeps what was measured.
    """
    columns = [_shrunk(a_M, v_M) for a_M, v_M in zip(advantage_MK.T, variance_MK.T, strict=True)]
    mean_KM, deviation_KM = zip(*columns, strict=True)
    return np.stack(mean_KM, axis=1), np.stack(deviation_KM, axis=1)


def _shrunk(advantage_M: np.ndarray, variance_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    precision_M = 1.0 / variance_M
    if np.count_nonzero(precision_M) < 2:
        return advantage_M, np.sqrt(variance_M)
    fixed = np.average(advantage_M, weights=precision_M)
    scatter = (precision_M * (advantage_M - fixed) ** 2).sum() - np.count_nonzero(precision_M) + 1
    between = max(0.0, scatter / (precision_M.sum() - (precision_M**2).sum() / precision_M.sum()))
    weight_M = 1.0 / (variance_M + between)
    centre, doubt = np.average(advantage_M, weights=weight_M), 1.0 / weight_M.sum()
    trust_M = between * weight_M  # in what was measured here, 0..1
    variance_own_M = between * (1.0 - trust_M) + (1.0 - trust_M) ** 2 * doubt
    return centre + trust_M * (advantage_M - centre), np.sqrt(variance_own_M)


def passes(z_MK: np.ndarray, z_min: float, correction: Correction = "holm") -> np.ndarray:
    """Which advantages, in standard errors, are no chance findings; bool (M, K).

    The level is the one-sided one of `z_min` standard errors. "holm": the probability of any pass among teachers that
    all guess is at most that level, however many cells there are; "none": it is the level in every cell, so of thirty
    guessing cells about one in two tables has a pass at two standard errors.
    """
    from scipy.special import ndtr

    p_MK = ndtr(-z_MK)
    adjusted_MK = holm(p_MK.ravel()).reshape(p_MK.shape) if correction == "holm" and p_MK.size else p_MK
    return np.asarray(adjusted_MK <= ndtr(-z_min))


def soft_weights(
    advantage_MK: np.ndarray, z_MK: np.ndarray, power: float, z_min: float, correction: Correction = "holm"
) -> np.ndarray:
    """Weights of K teachers on M groups from their advantage over chance; the best of each group has 1.

    They grow with the `power` of the advantage. A teacher whose advantage does not pass has weight 0, and so a group
    may have no teacher at all: its rows then learn from their captions only.
    """
    trusted_MK = np.where(passes(z_MK, z_min, correction), np.clip(advantage_MK, 0.0, None), 0.0)
    best_M1 = trusted_MK.max(axis=1, keepdims=True)
    return np.asarray((trusted_MK / np.where(best_M1 > 0, best_M1, 1.0)) ** power)


def rank_gate(
    image_ND: np.ndarray, text_ND: np.ndarray, rivals: int, top: float, generator: np.random.Generator
) -> np.ndarray:
    """Per pair: does the teacher place the own caption in the `top` share of captions of any modality? (N,) bool.

    The rule that fits the reference system's `available_clips` (its own is not published).
    """
    return own_percentile(image_ND, text_ND, rivals, generator) > 1.0 - top
