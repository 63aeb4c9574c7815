"""A data set opened for evaluation: its samples, its distinct images and texts, and a digest of all of it."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from mmkd.cards.card import Card
from mmkd.cards.samples import ImageRef, Sample
from mmkd.errors import DataError
from mmkd.evaluation.corruptions.corrupt import CorruptedImage
from mmkd.evaluation.data_sets.source import DataSetSource, read_source
from mmkd.evaluation.tasks.table import TASKS


@dataclass(frozen=True)
class DataSet:
    """A card with its samples. images, texts: the distinct ones of all samples and tasks, in a fixed order.

    digest: changes when anything in it does.
    """

    card: Card
    samples: list[Sample]
    images: list[ImageRef]
    texts: list[str]
    digest: str


def open_data_set(card: Card, read: DataSetSource | None = None) -> DataSet:
    """Read the card's tables and folders and hash its images.

    Raises DataError for whatever is missing, empty, double or wrong in them, or for what a task lacks.
    """
    source = read or read_source(card)
    samples = source.samples
    images = dict.fromkeys(image for sample in samples for image in sample.images)
    images |= dict.fromkeys(image for task in card.tasks for image in TASKS[task].images(card, samples))
    texts = dict.fromkeys(text for task in card.tasks for text in TASKS[task].texts(card, samples))
    return DataSet(card, samples, list(images), list(texts), source.digest)


def open_for_tasks(source: DataSetSource) -> tuple[DataSet | None, dict[str, str]]:
    """The data set with those of its tasks that its samples serve, None without any; task -> why, of the others."""
    card, failed = source.card, dict[str, str]()
    for name in card.tasks:
        try:
            for asked in (TASKS[name].images, TASKS[name].texts, TASKS[name].own_models):
                asked(card, source.samples)
        except DataError as error:
            failed[name] = str(error)
    served = card.model_copy(update={"tasks": [name for name in card.tasks if name not in failed]})
    return open_data_set(served, source) if served.tasks else None, failed


class DecodedImages:
    """Decoded images, so that the next model need not decode them again; the first `limit_mb` of them stay.

    A worker gets it empty, and fills it by itself.
    """

    def __init__(self, limit_mb: int) -> None:
        self._limit = self._left = limit_mb * 2**20
        self._kept: dict[ImageRef, Image.Image] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_limit": self._limit, "_left": self._limit, "_kept": {}}

    def get(self, reference: ImageRef) -> Image.Image:
        """The image as RGB. Raises DataError when it cannot be read.

        A corrupted one is made anew each time, from an original that may be kept: there are many to one.
        """
        if isinstance(reference, CorruptedImage):
            return reference.of(self.get(reference.original))
        if reference in self._kept:
            return self._kept[reference]
        image = reference.read()
        size = len(image.getbands()) * image.width * image.height
        if size <= self._left:
            self._left -= size
            self._kept[reference] = image
        return image
