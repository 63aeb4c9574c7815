"""Image evidence from stored features: prompts from the other half of the captions, guessers without a say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from mmkd.corpus.schema import Corpus, caption_group
from mmkd.errors import DataError
from mmkd.features.modality import image_evidence
from mmkd.features.store import TeacherFeatures

MODALITIES = ("ct", "mri", "ultrasound")
WORDS = ("Axial CT", "T2-weighted MRI", "Ultrasound image")


@dataclass(frozen=True)
class Rows:
    """What `image_evidence` asks of a corpus, without a folder."""

    captions: list[str]
    folder: Path = Path("corpus")

    def __len__(self) -> int:
        return len(self.captions)

    def column(self, name: str) -> Sequence[object]:
        return self.captions if name == "caption" else [caption_group(caption) for caption in self.captions]


@dataclass(frozen=True)
class Seen:
    """A teacher's vectors in memory."""

    name: str
    image_ND: np.ndarray
    text_ND: np.ndarray
    valid_N: np.ndarray
    dim: int = 8

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.image_ND[rows], self.text_ND[rows], self.valid_N[rows]


def world(count: int = 240) -> tuple[Corpus, np.ndarray]:
    """Captions that name three modalities in turn, every fourth of them none; and the true modality of each row."""
    truth_N = np.arange(count) % 3
    captions = [f"{WORDS[m]} number {row}" if row % 4 else f"finding {row}" for row, m in enumerate(truth_N)]
    return cast(Corpus, Rows(captions)), truth_N


def teacher(name: str, truth_N: np.ndarray, signal: float, seed: int, blind: slice = slice(0)) -> TeacherFeatures:
    """Image and text of a modality share a direction, as far as `signal` goes; there are no vectors of rows `blind`."""
    rng = np.random.default_rng(seed)
    image_ND, text_ND = (signal * np.eye(8)[truth_N] + rng.normal(0, 0.1, (len(truth_N), 8)) for _ in range(2))
    valid_N = np.ones(len(truth_N), bool)
    valid_N[blind] = False
    return cast(TeacherFeatures, Seen(name, image_ND.astype(np.float16), text_ND.astype(np.float16), valid_N))


def test_pictures_are_told_apart_whose_captions_say_nothing() -> None:
    corpus, truth_N = world()
    sharp = teacher("sharp", truth_N, 1.0, seed=1, blind=slice(0, 10))
    found = image_evidence(corpus, [sharp, teacher("guesser", truth_N, 0.0, seed=2)])
    assert found.reliability["sharp"] == 1.0
    assert found.reliability["guesser"] < 0.6
    expected = np.array(MODALITIES)[truth_N]
    assert (found.modality_N[10:] == expected[10:]).all()
    assert found.confidence_N[10:].min() > 0.5
    alone = image_evidence(corpus, [sharp])
    assert (alone.modality_N[:10] == "").all()
    assert (alone.confidence_N[:10] == 0).all()
    assert (alone.confidence_N[10:] == 1).all()


def test_no_caption_votes_for_its_own_picture() -> None:
    """A teacher that knows nothing but gives a picture and its caption one vector is right by chance only."""
    corpus, truth_N = world()
    rng = np.random.default_rng(5)
    vector_ND = rng.normal(0, 1, (len(truth_N), 8)).astype(np.float16)
    memory = cast(TeacherFeatures, Seen("memory", vector_ND, vector_ND, np.ones(len(truth_N), bool)))
    assert abs(image_evidence(corpus, [memory]).reliability["memory"] - 1 / 3) < 0.15


def test_too_few_named_modalities_are_an_error() -> None:
    corpus, truth_N = world(12)
    with pytest.raises(DataError, match="0 modalities are named by at least 5 captions"):
        image_evidence(corpus, [teacher("sharp", truth_N, 1.0, seed=1)])
