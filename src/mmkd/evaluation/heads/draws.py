"""Parts of the training labels, as a small hospital would have them; N samples, C classes, G groups, F fractions."""

from collections.abc import Sequence

import numpy as np

from mmkd.statistics.metrics import Array


def nested_draws(member_NC: Array, group_N: Array, fractions: Sequence[float], rng: np.random.Generator) -> list[Array]:
    """Which samples belong to each fraction, booleans (N,); each draw holds those of all smaller fractions.

    Groups stand in one random order, and a fraction takes from its start, class by class, until it has that share of
    the class's samples, but one at least. Samples without a class count as a class of their own. Groups (numbers from 0
    on) come whole, so a draw may hold more than its share.
    """
    rank_G = rng.permutation(int(group_N.max(initial=-1)) + 1)
    rank_N = rank_G[group_N]
    without_N1 = ~member_NC.any(axis=1, keepdims=True)
    strata = [member_N for member_N in np.hstack([member_NC, without_N1]).T if member_N.any()]
    drawn = []
    for fraction in fractions:
        taken_N = np.zeros(len(group_N), np.bool_)
        for member_N in strata:
            first = max(1, int(fraction * np.count_nonzero(member_N) + 0.5))
            taken_N |= member_N & (rank_N <= np.sort(rank_N[member_N])[first - 1])
        drawn.append(np.isin(group_N, group_N[taken_N]))
    return drawn
