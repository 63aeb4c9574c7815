"""A data set as one model, or several as one, embed it; N samples, T texts, D dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample, Split
from mmkd.evaluation.models.embeddings import Embeddings
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array

S = TypeVar("S", bound=Settings)
"""The settings of a task."""


@dataclass(frozen=True)
class EmbeddedDataSet(Generic[S]):
    """What a task's `predict` gets. members: the embeddings of a model, or of each model of an ensemble; none for a
    predictor that the card brings itself, whose name is `model`.

    images: the distinct ones, in the order of the embeddings' rows. settings: of the task.
    """

    model: str
    card: Card
    samples: Sequence[Sample]
    images: Sequence[ImageRef]
    members: Sequence[Embeddings]
    settings: S
    seed: int

    @cached_property
    def _row_of(self) -> dict[ImageRef, int]:
        return {image: row for row, image in enumerate(self.images)}

    def split(self, *splits: Split) -> list[Sample]:
        """The samples of these splits, in the order of the data set."""
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
        """Of all images of one sample."""
        return self.of_image_list(sample.images)

    def of_image_list(self, images: Sequence[ImageRef]) -> Array:
        rows = [self._row_of[image] for image in images]
        return _side_by_side([member.image_ID[rows] for member in self.members])

    def of_texts(self, texts: Sequence[str]) -> Array:
        return _side_by_side([member.of_texts(texts) for member in self.members])


def _side_by_side(parts: Sequence[Array]) -> Array:
    joined: Array = np.concatenate(parts, axis=1) / np.float32(np.sqrt(len(parts)))
    return joined
