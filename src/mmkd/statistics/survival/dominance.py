"""Sums of weights over all earlier points of lower value, for many points at once, in N log N.

N points, B weightings, E queries.
"""

import numpy as np

from mmkd.statistics.metrics import Array


def sums_before(rank_N: Array, weight_BN: Array, end_E: Array, rank_E: Array) -> tuple[Array, Array]:
    """Of the points 0..end - 1, the summed weight of those of lower rank and of those of equal rank; each (B, E).

    rank_N, rank_E: integers of at least 0. end_E: 0..N. The bits of the ranks are taken from the highest on, and the
    points are stably sorted by each; a query keeps the range of points that agree with its rank so far, and adds up
    those that have 0 where it has 1 (a wavelet matrix: Claude, Navarro and Ordóñez, Information Systems 47, 2015).
    """
    lower_BE = np.zeros((len(weight_BN), len(end_E)))
    start_E, end_E = np.zeros(len(end_E), np.int64), np.asarray(end_E, np.int64)
    order_N = np.arange(len(rank_N))
    highest = int(max(rank_N.max(initial=0), rank_E.max(initial=0)))
    for bit in reversed(range(highest.bit_length())):
        zero_N = (rank_N[order_N] >> bit & 1) == 0
        zeros_N1 = _summed(zero_N.astype(np.int64))
        one_E = np.flatnonzero(rank_E >> bit & 1)
        zero_BN1 = _summed(weight_BN[:, order_N] * zero_N)
        lower_BE[:, one_E] += zero_BN1[:, end_E[one_E]] - zero_BN1[:, start_E[one_E]]
        start_E, end_E = (_moved(place_E, zeros_N1, rank_E >> bit & 1) for place_E in (start_E, end_E))
        order_N = np.concatenate([order_N[zero_N], order_N[~zero_N]])
    equal_BN1 = _summed(weight_BN[:, order_N])
    return lower_BE, equal_BN1[:, end_E] - equal_BN1[:, start_E]


def _summed(value_N: Array) -> Array:
    """Sums of the first 0..N values, along the last axis."""
    return np.concatenate([np.zeros((*value_N.shape[:-1], 1), value_N.dtype), np.cumsum(value_N, axis=-1)], axis=-1)


def _moved(place_E: Array, zeros_N1: Array, one_E: Array) -> Array:
    """Where a boundary lies among the points of the query's bit, when those with 0 stand before those with 1."""
    before_E = zeros_N1[place_E]
    return np.where(one_E, zeros_N1[-1] + place_E - before_E, before_E)
