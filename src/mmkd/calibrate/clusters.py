"""Groups of a corpus without labels: k-means on what the teachers see in the images.

Every teacher's image vectors are centred and divided by the root of their dispersion, so that a wide cone does not
drown a narrow one; put side by side and reduced to their principal axes they show what most teachers tell apart most
clearly, which in a corpus of many modalities is the modality. Letters: N rows, D dimension, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.calibrate.geometry import dispersion, mean_direction
from mmkd.features.store import TeacherFeatures

FIT_ROWS = 10_000  # rows from which axes and centres are found
SILHOUETTE_ROWS = 2_000  # it compares all pairs of them
AXES = 64
BLOCK = 8_192
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
NEAR_BEST = 0.9
SMALLEST = 50  # pairs; the rank test on fewer cannot tell an advantage of .16 from none
PURPOSE = 6  # of the random numbers


@dataclass(frozen=True)
class ImageSpace:
    """The shared space of the teachers' image vectors. cones: (mean, factor) of each teacher."""

    features: Sequence[TeacherFeatures]
    cones: Sequence[tuple[np.ndarray, float]]
    axes: Any  # a fitted sklearn PCA

    def at(self, rows: np.ndarray) -> np.ndarray:
        """float32 (N, D) of the given corpus rows."""
        return np.asarray(self.axes.transform(_side_by_side(self.features, self.cones, rows)), dtype=np.float32)


def find_clusters(
    features: Sequence[TeacherFeatures], rows: np.ndarray, total: int, clusters: int, seed: int
) -> np.ndarray:
    """The cluster of each of the corpus's `total` rows, int32; found on `rows`, number 0 is the largest there.

    clusters: how many, 0: see `count_clusters`. There may be fewer, as small ones are joined to their neighbours.
    """
    generator = np.random.default_rng([seed, PURPOSE])
    fitted = np.sort(generator.choice(rows, min(FIT_ROWS, len(rows)), replace=False))
    space = image_space(features, fitted, generator)
    fit_ND = space.at(fitted)
    centre_KD = join_small(fit_ND, centres(fit_ND, clusters, generator), SMALLEST * len(fitted) / len(rows))
    blocks = (np.arange(first, min(first + BLOCK, total)) for first in range(0, total, BLOCK))
    found_N: np.ndarray = np.concatenate([nearest(space.at(block), centre_KD) for block in blocks]).astype(np.int32)
    return found_N


def image_space(features: Sequence[TeacherFeatures], rows: np.ndarray, generator: np.random.Generator) -> ImageSpace:
    """Fit the space on the given rows."""
    from sklearn.decomposition import PCA

    cones = []
    for teacher in features:
        image_ND, _, valid_N = teacher.take(rows)
        cones.append((mean_direction(image_ND[valid_N]), dispersion(image_ND[valid_N]) ** -0.5))
    side_ND = _side_by_side(features, cones, rows)
    axes = PCA(min(AXES, *side_ND.shape), svd_solver="randomized", random_state=_state(generator))
    return ImageSpace(features, cones, axes.fit(side_ND))


def _side_by_side(
    features: Sequence[TeacherFeatures], cones: Sequence[tuple[np.ndarray, float]], rows: np.ndarray
) -> np.ndarray:
    """Rows that a teacher failed on stand at its mean."""
    parts = []
    for teacher, (mean_D, factor) in zip(features, cones, strict=True):
        image_ND, _, valid_N = teacher.take(rows)
        parts.append(np.where(valid_N[:, None], (image_ND - mean_D) * factor, 0.0).astype(np.float32))
    return np.concatenate(parts, axis=1)


def centres(value_ND: np.ndarray, clusters: int, generator: np.random.Generator) -> np.ndarray:
    """k-means centres (K, D) of at most `clusters` clusters; 0: as many as `count_clusters` finds."""
    if clusters:
        return _k_means(value_ND, min(clusters, len(value_ND)), _state(generator))
    most = (len(value_ND) / 2) ** 0.5
    tried = [_k_means(value_ND, count, _state(generator)) for count in COUNTS if count <= most]
    if not tried:
        return np.asarray(value_ND.mean(axis=0, keepdims=True))
    return np.asarray(tried[count_clusters(value_ND, tried, generator)])


def count_clusters(value_ND: np.ndarray, tried: Sequence[np.ndarray], generator: np.random.Generator) -> int:
    """Which of the tried sets of centres to take: the largest whose mean silhouette is within a tenth of the best.

    The silhouette alone stops at the coarsest division that is clear. Of divisions about as clear the finer one is
    taken, since a cluster that joins two modalities hides who knows which; one that is too fine only makes the tests
    weaker, which `reliability.shrunk` allows for. Numbers up to sqrt(N / 2) are tried.
    """
    from sklearn.metrics import silhouette_score

    sample = generator.choice(len(value_ND), min(SILHOUETTE_ROWS, len(value_ND)), replace=False)
    score = []
    for centre_KD in tried:
        label_N = nearest(value_ND[sample], centre_KD)
        several = 1 < len(np.unique(label_N)) < len(sample)
        score.append(float(silhouette_score(value_ND[sample], label_N)) if several else -1.0)
    good = [i for i, value in enumerate(score) if value >= NEAR_BEST * max(score)]
    return good[-1] if good else 0


def _k_means(value_ND: np.ndarray, count: int, state: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    found = MiniBatchKMeans(count, n_init=10, batch_size=2048, random_state=state).fit(value_ND)
    return np.asarray(found.cluster_centers_)


def join_small(value_ND: np.ndarray, centre_KD: np.ndarray, smallest: float) -> np.ndarray:
    """Centres without those of fewer than `smallest` rows, whose rows go to the next nearest; largest cluster first."""
    while True:
        size_K = np.bincount(nearest(value_ND, centre_KD), minlength=len(centre_KD))
        if len(centre_KD) == 1 or size_K.min() >= smallest:
            return np.asarray(centre_KD[np.argsort(-size_K, kind="stable")])
        centre_KD = np.delete(centre_KD, size_K.argmin(), axis=0)


def nearest(value_ND: np.ndarray, centre_KD: np.ndarray) -> np.ndarray:
    """The nearest centre of each row (N,)."""
    return np.asarray((0.5 * (centre_KD**2).sum(axis=1) - value_ND @ centre_KD.T).argmin(axis=1))


def _state(generator: np.random.Generator) -> int:
    """A seed for scikit-learn, which takes no Generator."""
    return int(generator.integers(2**31))
