"""What models make of a data set, in memory and as a safetensors file; I images, N samples, T texts, D dimensions."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample, Split
from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array

S = TypeVar("S", bound=Settings)
"""The settings of a task."""
FACTS = "facts"


@dataclass(frozen=True)
class Embeddings:
    """L2-normalised float32: the distinct images in the order of the data set, and every distinct text."""

    image_ID: Array
    text_TD: Array
    texts: list[str]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.texts)}

    def of_texts(self, texts: Sequence[str]) -> Array:
        return self.text_TD[[self._row_of[text] for text in texts]]


def normalised(value_ND: Array) -> Array:
    """Divided by the L2 norm along the last axis; a vector of zeros stays one."""
    norm = np.linalg.norm(value_ND, axis=-1, keepdims=True)
    return value_ND / np.where(norm > 0, norm, 1.0)


def embeddings_path(folder: Path, card_id: str, model: str) -> Path:
    return folder / "embeddings" / card_id / f"{model}.safetensors"


def write_embeddings(path: Path, embeddings: Embeddings, made_from: str) -> None:
    """Write the file whole or not at all. made_from: digest of the model and the data set."""
    tensors = {"image": embeddings.image_ID, "text": embeddings.text_TD}
    facts = {"made_from": made_from, "texts": embeddings.texts}
    metadata = {FACTS: json.dumps(facts)}  # one key: safetensors writes several in any order
    with atomic_file(path) as stream:
        stream.write(save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata))


def is_made_from(path: Path, made_from: str) -> bool:
    """Whether the file is there and was made from the same model and data set."""
    if not path.is_file():
        return False
    with _opened(path) as stored:
        return _facts(stored).get("made_from") == made_from


def read_embeddings(path: Path) -> Embeddings:
    """The stored embeddings. Raises DataError when the file is missing or damaged."""
    with _opened(path) as stored:
        return Embeddings(stored.get_tensor("image"), stored.get_tensor("text"), _facts(stored)["texts"])


def _facts(stored: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stored.metadata() or {}).get(FACTS, "{}"))
    return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as stored:
            yield stored
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(f"{path}: not readable as embeddings ({error}); delete it and evaluate again") from error


@dataclass(frozen=True)
class EmbeddedDataSet(Generic[S]):
    """What a task's `predict` gets. members: the embeddings of a model, or of each model of an ensemble; none for a
    predictor that the card brings itself, whose name is `model`.

    images: the distinct ones, in the order of the embeddings' rows. settings: of the task. variants: the same data set
    with other pictures (family of corruptions -> as the model embeds them), read when they are asked for.
    """

    model: str
    card: Card
    samples: Sequence[Sample]
    images: Sequence[ImageRef]
    members: Sequence[Embeddings]
    settings: S
    seed: int
    variants: "Mapping[str, Callable[[], EmbeddedDataSet[S]]]" = field(default_factory=dict)

    @cached_property
    def _row_of(self) -> dict[ImageRef, int]:
        return {image: row for row, image in enumerate(self.images)}

    def split(self, *splits: Split) -> list[Sample]:
        return [sample for sample in self.samples if sample.split in splits]

    def by_member(self) -> "list[EmbeddedDataSet[S]]":
        """The data set as each member alone embeds it."""
        return [replace(self, members=[member]) for member in self.members]

    def of_images(self, samples: Sequence[Sample]) -> Array:
        """Of samples with one image each: float32 (N, D), unit vectors.

        Members stand side by side, divided by the root of their number: the product of two such vectors is the mean of
        the members' cosines.
        """
        return self.of_image_list([sample.image for sample in samples])

    def of_bag(self, sample: Sample) -> Array:
        return self.of_image_list(sample.images)

    def of_image_list(self, images: Sequence[ImageRef]) -> Array:
        rows = [self._row_of[image] for image in images]
        return _side_by_side([member.image_ID[rows] for member in self.members])

    def of_texts(self, texts: Sequence[str]) -> Array:
        return _side_by_side([member.of_texts(texts) for member in self.members])


def _side_by_side(parts: Sequence[Array]) -> Array:
    return np.asarray(np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts))))
