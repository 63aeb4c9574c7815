"""Conformal sets: classes of which one is the true one with a chosen probability; N pictures, C classes, G groups.

Split conformal prediction with the score 1 - probability of the true class (Sadinle, Lei, Wasserman 2019). Pictures of
one group (patient) depend on each other, so groups are what is exchangeable: each weighs the same, and its pictures
share its weight (Lee, Barber, Willett 2023). With one picture a group this is the usual quantile.
"""

from dataclasses import dataclass

import numpy as np

from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array

FOLDS = 5
REPLICATES = 2000
CONFIDENCE = 0.95
ROUNDING = 1e-9  # sums of weights may fall short of a whole number of groups


@dataclass(frozen=True)
class Coverage:
    """Share of the pictures of held-out folds whose set has the true class, groups weighing the same, and its
    interval; size: mean number of classes in their sets."""

    value: float
    low: float
    high: float
    size: float


def threshold(true_N: Array, group_N: Array, coverage: float) -> float:
    """The least probability a class needs to be in a set; at most 0 where there are too few groups.

    true_N: probability of the true class. group_N: numbers of groups.
    """
    _, place_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    score_N = 1 - true_N
    order_N = np.argsort(score_N, kind="stable")
    reached_N = np.cumsum(1 / ((len(size_G) + 1) * size_G[place_N[order_N]]))
    first = int(np.searchsorted(reached_N, coverage - ROUNDING))
    return float(1 - score_N[order_N[first]]) if first < len(order_N) else 0.0


def in_sets(probability_NC: Array, least: Array | float) -> Array:
    """Which classes are in the set of each picture, booleans (N, C): the likeliest always, which covers no less.

    least: probability that a class needs, of all pictures or (N, 1).
    """
    return np.asarray((probability_NC >= least) | (probability_NC >= probability_NC.max(axis=1, keepdims=True)))


def fewest_groups(coverage: float) -> int:
    """Below this many groups the coverage itself would be too uncertain: its deviation would be above 0.04 at 90 %."""
    return int(np.ceil(5 / (1 - coverage) - ROUNDING))


def measured_coverage(probability_NC: Array, label_N: Array, group_N: Array, coverage: float, seed: int) -> Coverage:
    """On folds whose groups are in no other: the threshold of the others decides the sets of each."""
    names, group_N = np.unique(group_N, return_inverse=True)
    rng = generator(seed, Purpose.CONFORMAL_FOLDS)
    fold_N = (rng.permutation(len(names)) % FOLDS)[group_N]
    true_N = probability_NC[np.arange(len(label_N)), label_N]
    limit_F = np.array([threshold(true_N[fold_N != f], group_N[fold_N != f], coverage) for f in range(FOLDS)])
    in_NC = in_sets(probability_NC, limit_F[fold_N][:, None])
    within_N, size_N = in_NC[np.arange(len(label_N)), label_N], in_NC.sum(axis=1)
    count_G = np.bincount(group_N)
    covered_G = np.bincount(group_N, within_N) / count_G
    drawn = rng.integers(0, len(names), (REPLICATES, len(names)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(covered_G[drawn].mean(axis=1), [tail, 100 - tail])
    return Coverage(float(covered_G.mean()), float(low), float(high), float(size_N.mean()))
