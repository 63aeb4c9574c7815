"""A data set as its card and files have it, and its digest; what the tasks ask of it is looked at when it is opened."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd.cards.card import Card
from mmkd.cards.readers.read import read_samples
from mmkd.cards.samples import Sample


@dataclass(frozen=True)
class DataSetSource:
    """digest: changes when anything in the data set does."""

    card: Card
    samples: list[Sample]
    digest: str


def read_source(card: Card) -> DataSetSource:
    """Read the card's tables and folders and hash its pictures. Raises DataError for what is missing or wrong."""
    samples = read_samples(card)
    return DataSetSource(card, samples, fingerprint(card, samples))


def fingerprint(card: Card, samples: Sequence[Sample]) -> str:
    """SHA-256 over the card, and over what is true of its samples and the bytes of their pictures."""
    total = hashlib.sha256(card.model_dump_json(exclude={"layout"}).encode())
    images = dict.fromkeys(image for sample in samples for image in sample.images)
    digests = {image: image.digest() for image in images}
    for sample in samples:
        facts = [sample.id, sample.split, sample.labels, sample.caption, sample.group, sample.question, sample.survival]
        total.update(repr([*facts, sorted(sample.covariates.items()), sorted(sample.facts.items())]).encode())
        total.update("".join(digests[image] for image in sample.images).encode())
        for encoder, path in sorted(sample.bags.items()):
            total.update(f"{encoder} {path.name} {path.stat().st_size}".encode())
    return total.hexdigest()
