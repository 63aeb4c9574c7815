"""A modality of two organs, each with findings of its own: one teacher knows organs alone, each of two others the
findings of one organ. Captions name a random finding of the same organ where they are wrong."""

from dataclasses import dataclass

import numpy as np

from stack_world import unit

DIM = 24
FINDINGS = 4
TEACHERS = ("generalist", "kidney", "lung")


@dataclass(frozen=True)
class TwoOrgans:
    """sides: of each of TEACHERS, image and text (N, DIM). organ_N: 0 or 1. finding_N: of the picture. right_N: whether
    the caption is right."""

    sides: list[tuple[np.ndarray, np.ndarray]]
    organ_N: np.ndarray
    finding_N: np.ndarray
    right_N: np.ndarray

    @property
    def texts(self) -> dict[str, np.ndarray]:
        return {name: text for name, (_, text) in zip(TEACHERS, self.sides, strict=True)}


def two_organs(count: int, wrong: float = 0.3, seed: int = 0, equal: bool = False) -> TwoOrgans:
    """count: pairs. equal: one teacher, the first specialist, knows both organs and all findings."""
    rng = np.random.default_rng(seed)
    organ_N, finding_N = rng.integers(2, size=count), rng.integers(FINDINGS, size=count)
    named_N = np.where(rng.random(count) < wrong, rng.integers(FINDINGS, size=count), finding_N)
    axis_DD = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, DIM)))[0]  # the same teachers in every world
    organ_2D, finding_2FD = 3.0 * axis_DD[:2], 2.5 * axis_DD[2 : 2 + 2 * FINDINGS].reshape(2, FINDINGS, DIM)
    skills: list[tuple[float, list[int], float]] = [(1.0, [], 0.3), (0.0, [0], 0.8), (0.0, [1], 0.8)]
    if equal:
        skills[1:] = [(1.0, [0, 1], 0.5), (0.0, [], 0.5)]
    sides = []
    for of_organ, known, noise in skills:
        knows_N1 = np.isin(organ_N, known)[:, None]
        image, text = (
            unit(
                of_organ * organ_2D[organ_N]
                + knows_N1 * finding_2FD[organ_N, shown_N]
                + noise * rng.normal(size=(count, DIM))
            )
            for shown_N in (finding_N, named_N)
        )
        sides.append((image, text))
    return TwoOrgans(sides, organ_N, finding_N, named_N == finding_N)
