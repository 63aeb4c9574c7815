"""Differences between variants over few seeds: S seeds, M modalities, B replicates.

Both intervals treat what was run as a sample, and answer different questions. `paired_t` asks what other seeds (worlds,
teachers, students) would show on these modalities; with three seeds it has two degrees of freedom and is wide.
`crossed_bootstrap` also draws modalities; with few seeds it is too narrow, as every bootstrap of three is. Neither
holds the error of the test sets of a cell.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
CONFIDENCE = 0.95
REPLICATES = 10_000


class Interval(NamedTuple):
    low: float
    high: float


def paired_t(difference_SM: Array) -> Interval | None:
    """Student's t interval of the mean over seeds of each seed's mean over modalities; None for a single seed."""
    mean_S = difference_SM.mean(axis=1)
    count = len(mean_S)
    if count < 2:
        return None
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * mean_S.std(ddof=1) / math.sqrt(count))
    return Interval(float(mean_S.mean()) - half, float(mean_S.mean()) + half)


def crossed_bootstrap(difference_SM: Array, generator: np.random.Generator, replicates: int = REPLICATES) -> Interval:
    """Percentile interval of the mean when seeds and modalities are both drawn with replacement (Owen 2007).

    The same modalities are drawn for all seeds of a replicate, because they are the same modalities.
    """
    seeds, modalities = difference_SM.shape
    weight_BS = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates) / seeds
    weight_BM = generator.multinomial(modalities, np.full(modalities, 1 / modalities), size=replicates) / modalities
    mean_B = np.einsum("bs,sm,bm->b", weight_BS, difference_SM, weight_BM)
    low, high = np.quantile(mean_B, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return Interval(float(low), float(high))
