"""Training samples dealt into folds, or drawn in part; N samples, C classes, G groups, K folds, F fractions."""

from collections.abc import Sequence

import numpy as np

from mmkd.statistics.metrics import Array


def stratified_group_folds(member_NC: Array, group_N: Array, folds: int, rng: np.random.Generator) -> Array:
    """The fold of every sample, 0..folds-1; (N,). No group is cut, and each class is spread evenly.

    member_NC: whether a sample belongs to a class (`one_vs_rest`, or the labels of a multi-label set). group_N: numbers
    from 0 on. Groups with the largest shares of their classes go first, each to the fold that keeps the sum of squared
    class shares lowest; the order of equal ones is random. With fewer groups than folds some folds stay empty.
    """
    if member_NC.ndim != 2 or group_N.shape != member_NC.shape[:1] or folds < 1:
        raise ValueError(
            f"classes {member_NC.shape}, groups {group_N.shape}, {folds} folds; expected (N, C), (N,), > 0"
        )
    everything = np.ones((len(group_N), 1), np.bool_)  # a class of all samples keeps the folds of one size
    count_GC = np.zeros((int(group_N.max(initial=-1)) + 1, member_NC.shape[1] + 1))
    np.add.at(count_GC, group_N, np.hstack([member_NC, everything]))
    share_GC = count_GC / np.maximum(count_GC.sum(axis=0), 1)
    order_G = rng.permutation(len(share_GC))
    order_G = order_G[np.argsort(-share_GC[order_G].sum(axis=1), kind="stable")]
    held_KC = np.zeros((folds, share_GC.shape[1]))
    fold_G = np.zeros(len(share_GC), np.int64)
    for group in order_G:
        fold = int((held_KC @ share_GC[group]).argmin())
        fold_G[group] = fold
        held_KC[fold] += share_GC[group]
    return np.asarray(fold_G[group_N])


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
