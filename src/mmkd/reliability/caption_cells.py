"""Cells of captions within a modality: captions that the stack of the teachers calls alike.

The stack compares a picture with a caption by the sum of its teachers' cosines times their slopes. Captions are
compared in the same way: each teacher's text vectors, less their mean, times the root of its slope, side by side. So a
teacher that does not know the modality has no say in which captions are alike. Letters: N captions, T teachers, C
cells, D dimension of all teachers with a slope together.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.clusters import join_small, nearest
from mmkd.reliability.pair_space import drawn_state

LENGTH = 0.5  # of a unit vector, which is 0 where a teacher has none


@dataclass(frozen=True)
class Metric:
    """Where captions, or pictures, lie as a stack compares them.

    slopes: teacher -> slope, those above 0. means: teacher -> mean vector.
    """

    slopes: Mapping[str, float]
    means: Mapping[str, np.ndarray]

    def scaled(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """float32 (N, D): as `at`, but for the means; one that has no vector of a row has zeros."""
        parts = [np.float32(slope**0.5) * vectors[name].astype(np.float32) for name, slope in self.slopes.items()]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def at(self, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
        """float32 (N, D). vectors: of each teacher, unit rows; one that has no vector of a row lies at its mean."""
        parts = []
        for name, slope in self.slopes.items():
            value_ND = vectors[name].astype(np.float32)
            has_N1 = (np.square(value_ND).sum(axis=1) > LENGTH)[:, None]
            parts.append(np.float32(slope**0.5) * np.where(has_N1, value_ND - self.means[name], 0.0))
        return np.concatenate(parts, axis=1, dtype=np.float32)


def metric_of(slopes: Mapping[str, float], vectors: Mapping[str, np.ndarray]) -> Metric:
    """The metric of a stack, with the means of these vectors; see `Metric`."""
    above = {name: slope for name, slope in slopes.items() if slope > 0}
    means = {}
    for name in above:
        value_ND = vectors[name].astype(np.float32)
        has_N = np.square(value_ND).sum(axis=1) > LENGTH
        means[name] = value_ND[has_N].mean(axis=0) if has_N.any() else np.zeros(value_ND.shape[1], np.float32)
    return Metric(above, means)


@dataclass(frozen=True)
class CaptionCells:
    """The cells of a modality, and the part of it that each belongs to. part_C: names."""

    metric: Metric
    centre_CD: np.ndarray
    part_C: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        """The names, sorted."""
        return sorted(set(self.part_C))

    def part_of(self, texts: Mapping[str, np.ndarray]) -> np.ndarray:
        """The part of each caption (N,), strings: that of the cell whose centre is nearest."""
        return np.asarray(np.array(self.part_C)[nearest(self.metric.at(texts), self.centre_CD)])

    def part_of_pictures(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """The part of each picture (N,), strings: that of the cell whose mean caption has the highest logit.

        In the metric the product of a picture's vector with a centre is that logit, less what all cells have in common.
        """
        logit_NC = self.metric.scaled(images) @ self.centre_CD.T
        return np.asarray(np.array(self.part_C)[logit_NC.argmax(axis=1)])

    def shares(self, texts: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The share of these texts in each part, those of 0 left out, largest first."""
        name_P, count_P = np.unique(self.part_of(texts), return_counts=True)
        order_P = np.argsort(-count_P, kind="stable")
        return {str(name_P[p]): float(count_P[p] / count_P.sum()) for p in order_P}


def find_cells(value_ND: np.ndarray, cells: int, smallest: int, generator: np.random.Generator) -> np.ndarray:
    """Centres (C, D) of at most `cells` cells of at least `smallest` rows each (one cell may be smaller)."""
    from sklearn.cluster import KMeans

    distinct = len(np.unique(value_ND, axis=0))
    found = KMeans(min(cells, distinct), n_init=4, random_state=drawn_state(generator)).fit(value_ND)
    return join_small(value_ND, np.asarray(found.cluster_centers_), smallest)
