"""Weights that a bootstrap would draw, and the resamples they stand for."""

import numpy as np

from mmkd.statistics.metrics import Array


def once(samples: int) -> Array:
    return np.ones((1, samples), np.uint16)


def counts(samples: int, replicates: int, seed: int, kept: int = 0) -> Array:
    """Multinomial counts (B, N), some of them zero; the first `kept` samples are in every replicate."""
    count_BN = np.random.default_rng(seed).multinomial(samples, np.full(samples, 1 / samples), size=replicates)
    count_BN[:, :kept] += 1
    return count_BN.astype(np.uint16)


def resamples(count_BN: Array) -> list[Array]:
    """The samples of each replicate, every one as often as it was drawn."""
    return [np.repeat(np.arange(len(count_N)), count_N) for count_N in count_BN]
