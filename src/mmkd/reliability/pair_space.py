"""A space in which pairs of one modality lie together, whatever a single teacher thinks of them.

A teacher spreads the findings of its own modality wide and lays all others on one spot. Side by side in one Euclidean
space, one such teacher outvotes the rest: a finding of its modality stands further from its sisters than from another
modality. So distances are bounded, teacher by teacher: each side of each teacher is a Gaussian kernel, and the space is
that of their mean (multiple-kernel clustering with equal weights; the kernels by random Fourier features, Rahimi and
Recht 2007), reduced to its principal axes. Captions count as much as images: one that is wrong about the finding names
the modality all the same. Letters: N rows, D dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.features.store import TeacherFeatures

AXES = 64
WAVES = 128  # random features of a kernel
SPOT = 1e-9  # a spread that is none
COLUMNS = 64  # dimensions that are widened at once
GAMMA = 0.5  # of exp(-gamma d^2), where two random rows have d^2 = 2


@dataclass(frozen=True)
class Side:
    """One side (images or captions) of a teacher. factor: makes the mean squared distance of two rows 2."""

    factor: float
    kernel: Any  # a fitted sklearn RBFSampler

    def at(self, unit_ND: np.ndarray, valid_N: np.ndarray) -> np.ndarray:
        """float32 (N, WAVES); rows that the teacher failed on are 0: they are like none and unlike none."""
        if not len(unit_ND):
            return np.zeros((0, WAVES), dtype=np.float32)
        wave_ND = self.kernel.transform(unit_ND.astype(np.float32) * np.float32(self.factor))
        return np.asarray(wave_ND * valid_N[:, None], dtype=np.float32)


@dataclass(frozen=True)
class PairSpace:
    """The shared space of the teachers' vectors. sides: of each teacher, image and text."""

    features: Sequence[TeacherFeatures]
    sides: Sequence[tuple[Side, Side]]
    axes: Any  # a fitted sklearn PCA

    def at(self, rows: np.ndarray) -> np.ndarray:
        """float32 (N, D) of the given corpus rows."""
        return np.asarray(self.axes.transform(_side_by_side(self.features, self.sides, rows)), dtype=np.float32)


def pair_space(features: Sequence[TeacherFeatures], rows: np.ndarray, generator: np.random.Generator) -> PairSpace:
    """Fit the space on the given rows."""
    from sklearn.decomposition import PCA

    sides = []
    for teacher in features:
        image_ND, text_ND, valid_N = teacher.take(rows)
        sides.append((_side(image_ND[valid_N], generator), _side(text_ND[valid_N], generator)))
    wave_ND = _side_by_side(features, sides, rows)
    axes = PCA(min(AXES, *wave_ND.shape), svd_solver="randomized", random_state=drawn_state(generator))
    return PairSpace(features, sides, axes.fit(wave_ND))


def _side(unit_ND: np.ndarray, generator: np.random.Generator) -> Side:
    from sklearn.kernel_approximation import RBFSampler

    kernel = RBFSampler(gamma=GAMMA, n_components=WAVES, random_state=drawn_state(generator))
    kernel.fit(np.zeros((1, unit_ND.shape[1]), dtype=np.float32))  # it learns the dimension alone
    spread = _spread(unit_ND) if len(unit_ND) else 0.0
    return Side(spread**-0.5 if spread > SPOT else 0.0, kernel)  # on one spot, or failed on all rows: says nothing


def _spread(unit_ND: np.ndarray) -> float:
    """The variances of all dimensions together, in double precision, a few dimensions at a time."""
    columns = range(0, unit_ND.shape[1], COLUMNS)
    return float(np.concatenate([unit_ND[:, d : d + COLUMNS].astype(np.float64).var(axis=0) for d in columns]).sum())


def _side_by_side(
    features: Sequence[TeacherFeatures], sides: Sequence[tuple[Side, Side]], rows: np.ndarray
) -> np.ndarray:
    """float32 (N, 2 x teachers x WAVES): no second copy of it is made, and one teacher's vectors are held at a time.

    A picture without a caption lies where its image does.
    """
    wave_ND = np.empty((len(rows), 2 * len(features) * WAVES), dtype=np.float32)
    first = 0
    for teacher, of_teacher in zip(features, sides, strict=True):
        image_ND, text_ND, valid_N = teacher.take(rows)
        shown_N = np.asarray(image_ND.any(axis=1))  # what is missing is 0
        for side, unit_ND, has_N in zip(of_teacher, (image_ND, text_ND), (shown_N, valid_N), strict=True):
            wave_ND[:, first : first + WAVES] = side.at(unit_ND, has_N)
            first += WAVES
    return wave_ND


def drawn_state(generator: np.random.Generator) -> int:
    """A seed for scikit-learn, which takes no Generator."""
    return int(generator.integers(2**31))
