"""The coverage of conformal sets, measured on held-out folds; N pictures, C classes, G groups."""

from dataclasses import dataclass

import numpy as np

from mmkd.randomness import Purpose, generator
from mmkd.statistics.conformal import in_sets, threshold
from mmkd.statistics.metrics import Array

FOLDS = 5
REPLICATES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Coverage:
    """Share of the pictures of held-out folds whose set has the true class, groups weighing the same, and its
    interval; size: mean number of classes in their sets."""

    value: float
    low: float
    high: float
    size: float


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
