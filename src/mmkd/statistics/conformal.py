"""Conformal sets: classes of which one is the true one with a chosen probability; N pictures, C classes, G groups.

Split conformal prediction: a score says how strange a class would be, a quantile of the true classes' scores on
labelled pictures is the limit, and a set has every class up to it. Two scores: LAC, 1 - probability (Sadinle, Lei,
Wasserman 2019), has the smallest sets on average; APS, the sum of the probabilities from the likeliest class down to
this one (Romano, Sesia, Candes 2020, without their randomisation), has larger sets where the model hesitates.

Pictures of one group (patient) depend on each other, so groups are what is exchangeable: each weighs the same, and its
pictures share its weight (Lee, Barber, Willett 2023). With one picture a group this is the usual quantile.
"""

import numpy as np

from mmkd.statistics.metrics import Array

ROUNDING = 1e-9  # sums of weights, and of probabilities, may fall short of what they should be


def score_limit(score_N: Array, group_N: Array, coverage: float) -> float:
    """The largest score that a class in a set may have; infinite where there are too few groups.

    score_N: of the true class, higher is stranger. group_N: numbers of groups.
    """
    _, place_N, size_G = np.unique(group_N, return_inverse=True, return_counts=True)
    order_N = np.argsort(score_N, kind="stable")
    reached_N = np.cumsum(1 / ((len(size_G) + 1) * size_G[place_N[order_N]]))
    first = int(np.searchsorted(reached_N, coverage - ROUNDING))
    return float(score_N[order_N[first]]) if first < len(order_N) else np.inf


def threshold(true_N: Array, group_N: Array, coverage: float) -> float:
    """The least probability that a class needs to be in a LAC set; 0 where there are too few groups.

    true_N: probability of the true class. group_N: numbers of groups.
    """
    limit = score_limit(1 - true_N, group_N, coverage)
    return float(1 - limit) if np.isfinite(limit) else 0.0


def in_sets(probability_NC: Array, least: Array | float) -> Array:
    """Which classes are in the LAC set of each picture, booleans (N, C): the likeliest always, which covers no less.

    least: probability that a class needs, of all pictures or (N, 1).
    """
    return np.asarray((probability_NC >= least) | (probability_NC >= probability_NC.max(axis=1, keepdims=True)))


def cumulative_scores(probability_NC: Array) -> Array:
    """The APS score of every class: its probability and those of all likelier ones, of equal ones the first; (N, C)."""
    order_NC = np.argsort(-probability_NC, axis=1, kind="stable")
    sum_NC = np.cumsum(np.take_along_axis(probability_NC, order_NC, axis=1), axis=1)
    score_NC = np.empty_like(sum_NC)
    np.put_along_axis(score_NC, order_NC, sum_NC, axis=1)
    return score_NC


def in_cumulative_sets(probability_NC: Array, limit: float) -> Array:
    """Which classes are in the APS set of each picture, booleans (N, C): the likeliest always. limit: of the score."""
    score_NC = cumulative_scores(probability_NC)
    return np.asarray((score_NC <= limit + ROUNDING) | (score_NC <= score_NC.min(axis=1, keepdims=True)))


def fewest_groups(coverage: float) -> int:
    """Below this many groups the coverage itself would be too uncertain: its deviation would be above 0.04 at 90 %."""
    return int(np.ceil(5 / (1 - coverage) - ROUNDING))
