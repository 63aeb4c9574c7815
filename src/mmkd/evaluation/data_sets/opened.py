"""A data set opened for evaluation: its samples, its distinct images and texts, and a digest of all of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import ImageRef, Sample
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


def open_data_set(card: Card) -> DataSet:
    """Read the card's tables and folders and hash its images.

    Raises DataError for whatever is missing, empty, double or wrong in them, or for what a task lacks.
    """
    samples = read_samples(card)
    images = dict.fromkeys(image for sample in samples for image in sample.images)
    images |= dict.fromkeys(image for task in card.tasks for image in TASKS[task].images(card, samples))
    texts = dict.fromkeys(text for task in card.tasks for text in TASKS[task].texts(card, samples))
    return DataSet(card, samples, list(images), list(texts), fingerprint(card, samples, list(images)))


def fingerprint(card: Card, samples: Sequence[Sample], images: Sequence[ImageRef]) -> str:
    """SHA-256 over the card, and over what is true of its samples and the bytes of their images."""
    total = hashlib.sha256(card.model_dump_json(exclude={"layout"}).encode())
    digests = {image: image.digest() for image in images}
    for sample in samples:
        facts = [sample.id, sample.split, sample.labels, sample.caption, sample.group, sample.question, sample.survival]
        total.update(repr([*facts, sorted(sample.covariates.items()), sorted(sample.facts.items())]).encode())
        total.update("".join(digests[image] for image in sample.images).encode())
        for encoder, path in sorted(sample.bags.items()):
            total.update(f"{encoder} {path.name} {path.stat().st_size}".encode())
    return total.hexdigest()


class DecodedImages:
    """Decoded images, so that the next model need not decode them again; the first `limit_mb` of them stay."""

    def __init__(self, limit_mb: int) -> None:
        self._left = limit_mb * 2**20
        self._kept: dict[ImageRef, Image.Image] = {}

    def get(self, reference: ImageRef) -> Image.Image:
        """The image as RGB. Raises DataError when it cannot be read."""
        if reference in self._kept:
            return self._kept[reference]
        image = reference.read()
        size = len(image.getbands()) * image.width * image.height
        if size <= self._left:
            self._left -= size
            self._kept[reference] = image
        return image
