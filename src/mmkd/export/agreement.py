"""How far two programs agree on the same model: vectors, probabilities, and which text is the most probable.

N pictures, T texts, D dimensions.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from mmkd.errors import ModelError
from mmkd.statistics.metrics import Array

TOLERANCE = 1e-4
BATCH = 32


class Encoder(Protocol):
    """A model as one program opens it: vectors of length 1, None for texts where it has no text tower."""

    def encode_images(self, images: Sequence[Image.Image]) -> Array: ...

    def encode_texts(self, texts: Sequence[str]) -> Array | None: ...


@dataclass(frozen=True)
class Agreement:
    """Largest absolute differences of unit vectors and of probabilities, and on how many of the pictures the same text
    is the most probable. top1 counts what differs by rounding alone as the same."""

    vectors: float
    probabilities: float
    top1: int
    pictures: int

    def check(self, name: str) -> None:
        """Raise ModelError with the figures where it is not the same model."""
        if max(self.vectors, self.probabilities) > TOLERANCE or self.top1 < self.pictures:
            raise ModelError(
                f"{name} differs from the student: vectors by {self.vectors:.1e}, probabilities by "
                f"{self.probabilities:.1e} (at most {TOLERANCE:g}), the same text first on {self.top1} of "
                f"{self.pictures} pictures; nothing was published. Leave the format out with --to, and report it"
            )

    @property
    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Vectors:
    """image_ND, text_TD: of length 1; texts None where the program has no text tower."""

    image_ND: Array
    text_TD: Array | None
    seconds: float


def encoded(encoders: Mapping[str, Encoder], images: Iterable[Image.Image], texts: Sequence[str]) -> dict[str, Vectors]:
    """The same pictures and texts by every program; BATCH pictures are in memory at a time."""
    parts: dict[str, list[Array]] = {name: [] for name in encoders}
    seconds = dict.fromkeys(encoders, 0.0)
    text_TD: dict[str, Array | None] = {}
    for batch in _batches(images):
        for name, encoder in encoders.items():
            start = time.perf_counter()
            parts[name].append(encoder.encode_images(batch))
            seconds[name] += time.perf_counter() - start
    for name, encoder in encoders.items():
        text_TD[name] = encoder.encode_texts(texts)
    return {name: Vectors(np.concatenate(parts[name]), text_TD[name], seconds[name]) for name in encoders}


def agreement(expected: Vectors, found: Vectors, scale: float) -> Agreement:
    """scale: what cosines are multiplied with before the softmax."""
    assert expected.text_TD is not None
    text_TD = expected.text_TD if found.text_TD is None else found.text_TD
    differences = [np.abs(expected.image_ND - found.image_ND).max(), np.abs(expected.text_TD - text_TD).max()]
    expected_NT = probabilities(expected.image_ND, expected.text_TD, scale)
    found_NT = probabilities(found.image_ND, text_TD, scale)
    return Agreement(
        float(max(differences)),
        float(np.abs(expected_NT - found_NT).max()),
        same_first(expected_NT, found_NT),
        len(expected_NT),
    )


def probabilities(image_ND: Array, text_TD: Array, scale: float) -> Array:
    """(N, T)."""
    logit_NT = scale * image_ND.astype(np.float64) @ text_TD.T.astype(np.float64)
    power_NT = np.exp(logit_NT - logit_NT.max(axis=1, keepdims=True))
    found: Array = power_NT / power_NT.sum(axis=1, keepdims=True)
    return found


def same_first(expected_NT: Array, found_NT: Array) -> int:
    """On how many pictures the found most probable text is the expected one, or as probable up to rounding."""
    row_N, first_N = np.arange(len(expected_NT)), found_NT.argmax(axis=1)
    return int((expected_NT.max(axis=1) - expected_NT[row_N, first_N] <= 2 * TOLERANCE).sum())


def _batches(images: Iterable[Image.Image]) -> Iterable[list[Image.Image]]:
    batch: list[Image.Image] = []
    for image in images:
        batch.append(image)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
