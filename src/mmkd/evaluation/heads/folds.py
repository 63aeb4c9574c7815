"""Training samples dealt into folds for an inner choice; N samples, C classes, G groups, K folds."""

from collections.abc import Sequence

import numpy as np

from mmkd.statistics.metrics import Array


def group_numbers(group_N: Sequence[str]) -> Array:
    """Every sample's group as a number from 0 on, in the order of appearance; a group "" is one of its own; (N,)."""
    named = [("group", group) if group else ("sample", str(n)) for n, group in enumerate(group_N)]
    place = {name: number for number, name in enumerate(dict.fromkeys(named))}
    return np.array([place[name] for name in named], np.int64)


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
    fold_N: Array = fold_G[group_N]
    return fold_N
