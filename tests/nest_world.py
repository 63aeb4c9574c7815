"""A modality of two organs, each with findings of its own: one teacher knows organs alone, each of two others the
findings of one organ. Captions name a random finding of the same organ where they are wrong."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_world import DIM, write_corpus, write_features
from mmkd.corpus.schema import Corpus
from stack_world import unit

FINDINGS = 4
TEACHERS = ("generalist", "kidney", "lung")


@dataclass(frozen=True)
class TwoOrgans:
    """sides: of each of TEACHERS, image and text (N, DIM). organ_N: 0 or 1. finding_N: of the picture;
    named_N: of the caption."""

    sides: list[tuple[np.ndarray, np.ndarray]]
    organ_N: np.ndarray
    finding_N: np.ndarray
    named_N: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return np.asarray(self.named_N == self.finding_N)

    @property
    def texts(self) -> dict[str, np.ndarray]:
        return {name: text for name, (_, text) in zip(TEACHERS, self.sides, strict=True)}


def two_organs(count: int, wrong: float = 0.3, seed: int = 0, equal: bool = False) -> TwoOrgans:
    """count: pairs. equal: one teacher, the first specialist, knows both organs and all findings, and the others
    nothing."""
    rng = np.random.default_rng(seed)
    organ_N, finding_N = rng.integers(2, size=count), rng.integers(FINDINGS, size=count)
    named_N = np.where(rng.random(count) < wrong, rng.integers(FINDINGS, size=count), finding_N)
    axis_DD = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, DIM)))[0]  # the same teachers in every world
    organ_2D, finding_2FD = 3.0 * axis_DD[:2], 2.5 * axis_DD[2 : 2 + 2 * FINDINGS].reshape(2, FINDINGS, DIM)
    skills: list[tuple[float, list[int], float]] = [(1.0, [], 0.3), (0.0, [0], 0.8), (0.0, [1], 0.8)]
    if equal:
        skills = [(0.0, [], 0.3), (1.0, [0, 1], 0.5), (0.0, [], 0.5)]
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
    return TwoOrgans(sides, organ_N, finding_N, named_N)


def write_two_organs(folder: Path, count: int, others: int) -> TwoOrgans:
    """Folders `corpus` and `features`: so many pairs of the modality ct, and others of oct, which one teacher knows."""
    world, oct_world = two_organs(count), two_organs(others, equal=True, seed=5)
    organs = [*(("kidney", "lung")[organ] for organ in world.organ_N), *["retina"] * others]
    named = [*world.named_N.tolist(), *(4 * oct_world.organ_N + oct_world.named_N).tolist()]
    captions = [f"{organ} finding {finding}" for organ, finding in zip(organs, named, strict=True)]
    write_corpus(folder / "corpus", {"caption": captions, "modality": ["ct"] * count + ["oct"] * others})
    corpus = Corpus(folder / "corpus")
    for name, ct, oct_side in zip(TEACHERS, world.sides, oct_world.sides, strict=True):
        # vectors of another modality point elsewhere
        sides = {
            side: unit(np.concatenate([ct[which], np.roll(oct_side[which], 7, axis=1)]))
            for which, side in enumerate(("image", "text"))
        }
        write_features(folder / "features" / name, corpus, sides)
    return world
