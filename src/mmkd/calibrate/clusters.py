"""Groups of a corpus without labels: k-means on what the teachers see.

Every teacher's vectors are centred and divided by the root of their dispersion, so that a wide cone does not drown a
narrow one; put side by side and reduced to their principal axes they show what most teachers tell apart most clearly,
which in a corpus of many modalities is the modality. Captions count as much as images: one that is wrong about the
finding names the modality all the same. Letters: N rows, D dimension, K clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.calibrate.geometry import dispersion, mean_direction
from mmkd.calibrate.reliability import reliability
from mmkd.features.store import TeacherFeatures

FIT_ROWS = 10_000  # rows from which axes and centres are found
TEST_ROWS, TEST_RIVALS = 4_000, 32  # of the rank tests that find how many clusters there should be
AXES = 64
KEPT = 0.5  # of what the best teachers know of the coarsest clusters, see `_telling`
BLOCK = 8_192
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
FEW = 0.05  # an advantage that is none
COMMON = 16  # clusters where the teachers do not differ
SMALLEST = 50  # pairs; the rank test on fewer cannot tell an advantage of .16 from none
PURPOSE = 6  # of the random numbers


@dataclass(frozen=True)
class Cone:
    """Where a teacher's vectors of one side lie, and the factor that makes them comparable."""

    mean_D: np.ndarray
    factor: float


@dataclass(frozen=True)
class PairSpace:
    """The shared space of the teachers' vectors. cones: of each teacher's sides."""

    features: Sequence[TeacherFeatures]
    cones: Sequence[tuple[Cone, Cone]]
    axes: Any  # a fitted sklearn PCA

    def at(self, rows: np.ndarray) -> np.ndarray:
        """float32 (N, D) of the given corpus rows."""
        return np.asarray(self.axes.transform(_side_by_side(self.features, self.cones, rows)), dtype=np.float32)


def find_clusters(
    features: Sequence[TeacherFeatures], rows: np.ndarray, total: int, clusters: int, seed: int
) -> np.ndarray:
    """The cluster of each of the corpus's `total` rows, int32; found on `rows`, number 0 is the largest there.

    clusters: how many, 0: as many as leave the best teachers something to know, see `_telling`. There may be fewer, as
    small ones are joined.
    """
    generator = np.random.default_rng([seed, PURPOSE])
    fitted = np.sort(generator.choice(rows, min(FIT_ROWS, len(rows)), replace=False))
    space = pair_space(features, fitted, generator)
    fit_ND = space.at(fitted)
    tried = tried_centres(fit_ND, clusters, SMALLEST * len(fitted) / len(rows), generator)
    centre_KD = tried[0] if len(tried) == 1 else tried[_telling(features, fitted, fit_ND, tried, generator)]
    blocks = (np.arange(first, min(first + BLOCK, total)) for first in range(0, total, BLOCK))
    found_N: np.ndarray = np.concatenate([nearest(space.at(block), centre_KD) for block in blocks]).astype(np.int32)
    return found_N


def pair_space(features: Sequence[TeacherFeatures], rows: np.ndarray, generator: np.random.Generator) -> PairSpace:
    """Fit the space on the given rows."""
    from sklearn.decomposition import PCA

    cones = []
    for teacher in features:
        image_ND, text_ND, valid_N = teacher.take(rows)
        cones.append((_cone(image_ND[valid_N]), _cone(text_ND[valid_N])))
    side_ND = _side_by_side(features, cones, rows)
    axes = PCA(min(AXES, *side_ND.shape), svd_solver="randomized", random_state=_state(generator))
    return PairSpace(features, cones, axes.fit(side_ND))


def _cone(unit_ND: np.ndarray) -> Cone:
    if not len(unit_ND):  # a teacher that failed on all of the rows says nothing
        return Cone(np.zeros(unit_ND.shape[1]), 0.0)
    return Cone(mean_direction(unit_ND), dispersion(unit_ND) ** -0.5)


def _side_by_side(
    features: Sequence[TeacherFeatures], cones: Sequence[tuple[Cone, Cone]], rows: np.ndarray
) -> np.ndarray:
    """Rows that a teacher failed on stand at its mean."""
    parts = []
    for teacher, of_teacher in zip(features, cones, strict=True):
        *sides, valid_N = teacher.take(rows)
        for unit_ND, cone in zip(sides, of_teacher, strict=True):
            moved_ND = (unit_ND - cone.mean_D) * (cone.factor * valid_N[:, None])
            parts.append(moved_ND.astype(np.float32))
    return np.concatenate(parts, axis=1)


def tried_centres(
    value_ND: np.ndarray, clusters: int, smallest: float, generator: np.random.Generator
) -> list[np.ndarray]:
    """k-means centres (K, D) for the asked number of clusters, or for each of COUNTS up to sqrt(N / 2)."""
    counts = [clusters] if clusters else [count for count in COUNTS if count <= (len(value_ND) / 2) ** 0.5]
    counts = [min(count, len(value_ND)) for count in counts] or [1]
    return [join_small(value_ND, _k_means(value_ND, count, _state(generator)), smallest) for count in counts]


def _telling(
    features: Sequence[TeacherFeatures],
    rows: np.ndarray,
    value_ND: np.ndarray,
    tried: Sequence[np.ndarray],
    generator: np.random.Generator,
) -> int:
    """The finest of the tried clusterings in which the best teachers still know KEPT of what they know in the coarsest.

    A cluster that joins modalities flatters whoever knows the modality, and in one of a single finding nobody can rank
    captions, so what the best teacher knows falls from cluster to finer cluster. Where nobody knows anything, the
    finest of at most COMMON clusters.
    """
    place = np.sort(generator.choice(len(rows), min(TEST_ROWS, len(rows)), replace=False))
    sides = [teacher.take(rows[place]) for teacher in features]
    score = [mastery(sides, nearest(value_ND[place], centre_KD), generator) for centre_KD in tried]
    if max(score) <= FEW:
        return max(i for i, centre_KD in enumerate(tried) if i == 0 or len(centre_KD) <= COMMON)
    return max(i for i, value in enumerate(score) if value >= KEPT * max(score))


def mastery(
    sides: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], group_N: np.ndarray, generator: np.random.Generator
) -> float:
    """The advantage over chance of each group's best teacher, mean over rows; 0 where it is within chance.

    sides: image (N, D), text (N, D) and valid (N,) of each teacher.
    """
    total = 0.0
    for group in np.unique(group_N):
        mine_N = group_N == group
        found = [
            reliability(image[mine_N & valid], text[mine_N & valid], TEST_RIVALS, generator)
            for image, text, valid in sides
        ]
        total += mine_N.sum() * max(
            (one.advantage for one in found if one.n > 1 and one.advantage > 2 * one.variance**0.5), default=0.0
        )
    return total / len(group_N)


def _k_means(value_ND: np.ndarray, count: int, state: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    found = KMeans(count, n_init=10, random_state=state).fit(value_ND)
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
