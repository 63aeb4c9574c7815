"""Several blocks of features as few columns; N samples, F features of all blocks, K components."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.statistics.metrics import Array


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of blocks of equal weight. scale_F: of the block that a feature belongs to."""

    mean_F: Array
    scale_F: Array
    axis_FK: Array

    def of(self, blocks: Sequence[Array]) -> Array:
        """The same blocks of other samples, projected; (N, K)."""
        projected_NK: Array = ((np.hstack(blocks) - self.mean_F) / self.scale_F) @ self.axis_FK
        return projected_NK


def principal_components(blocks: Sequence[Array], most: int, rng: np.random.Generator) -> Components:
    """The `most` directions of largest variance at most, each block scaled to a total variance of one before.

    Products of unit vectors are smaller than the vectors by the root of their length: unscaled they would be lost. By
    randomised subspace iteration (Halko, Martinsson, Tropp 2011), so wide ensembles take seconds. A block that does not
    vary stays zero.
    """
    from sklearn.utils.extmath import randomized_svd

    value_NF = np.hstack(blocks)
    mean_F = value_NF.mean(axis=0)
    spreads = [np.sqrt(block.var(axis=0, dtype=np.float64).sum()) for block in blocks]
    scale_F = np.concatenate(
        [np.full(block.shape[1], spread or 1.0) for block, spread in zip(blocks, spreads, strict=True)]
    ).astype(value_NF.dtype)
    scaled_NF = (value_NF - mean_F) / scale_F
    _, _, axis_KF = randomized_svd(
        scaled_NF, min(most, *scaled_NF.shape), n_iter=3, random_state=int(rng.integers(2**31))
    )
    return Components(mean_F, scale_F, axis_KF.T)
