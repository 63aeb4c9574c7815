"""Duplicates of a data set's images in the corpus and between splits: candidates by bytes and by perceptual hash.

I hashed, V views, K keys.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from mmkd.cards.samples import CorpusImage, ImageRef, Sample, Split, corpus_of
from mmkd.evaluation.data_sets.opened import DataSet
from mmkd.evaluation.leakage.hashes import hashes_of
from mmkd.images.hamming import within
from mmkd.statistics.metrics import Array

CORPUS = "corpus"
BETWEEN: tuple[tuple[Split, Split], ...] = (("test", "train"), ("test", "val"), ("val", "train"))
MOST_CANDIDATES = 5  # nearest candidates of an image


@dataclass(frozen=True)
class HashedImages:
    """The images of a data set that belong to samples. view_IV: their hashes. digest_I: of their bytes."""

    data_set: DataSet
    images: list[ImageRef]
    view_IV: Array
    digest_I: list[str]

    @cached_property
    def samples_of(self) -> dict[ImageRef, list[Sample]]:
        found: dict[ImageRef, list[Sample]] = {}
        for sample in self.data_set.samples:
            for image in sample.images:
                found.setdefault(image, []).append(sample)
        return found

    def in_split(self, split: Split) -> Array:
        """Places of the images that a sample of the split shows."""
        shown = [any(sample.split == split for sample in self.samples_of[image]) for image in self.images]
        return np.flatnonzero(shown)


@dataclass(frozen=True)
class ReferenceImages:
    """What images are looked up in. source: "corpus" or a split. names: as the rows call them."""

    source: str
    names: list[str]
    images: list[ImageRef]
    hash_K: Array
    digest_K: list[str]


@dataclass(frozen=True)
class DuplicatePair:
    """A image of a data set and one of the keys. distance: bits, the least over the views. split: of the samples
    of the image that are meant, all of them where it is None."""

    image: ImageRef
    partner: ImageRef
    name: str
    source: str
    split: Split | None
    distance: int
    view: int
    bytes_equal: bool


def hashed_images(data_set: DataSet, read: Callable[[ImageRef], Image.Image], workers: int) -> HashedImages:
    images = list(dict.fromkeys(image for sample in data_set.samples for image in sample.images))
    digests = [image.digest() for image in images]
    return HashedImages(data_set, images, hashes_of(images, read, workers), digests)


def corpus_images(folder: Path) -> ReferenceImages:
    """The training rows of a corpus: its validation rows may be evaluated on."""
    corpus = corpus_of(folder)
    rows = corpus.rows("train")
    names, digests = corpus.column("id"), corpus.column("sha256")
    return ReferenceImages(
        source=CORPUS,
        names=[names[row] for row in rows],
        images=[CorpusImage(folder, int(row)) for row in rows],
        hash_K=np.array(corpus.column("phash"), np.uint64)[rows],
        digest_K=[digests[row] for row in rows],
    )


def split_images(hashed: HashedImages, split: Split) -> ReferenceImages:
    """The images of a split under the name of their first sample in it."""
    places = hashed.in_split(split)
    images = [hashed.images[place] for place in places]
    return ReferenceImages(
        source=split,
        names=[next(s.id for s in hashed.samples_of[image] if s.split == split) for image in images],
        images=images,
        hash_K=hashed.view_IV[places, 0],
        digest_K=[hashed.digest_I[place] for place in places],
    )


def duplicates_in(
    hashed: HashedImages, places: Array, keys: ReferenceImages, radius: int, split: Split | None = None
) -> list[DuplicatePair]:
    """The nearest candidates of the images at these places. split: of the samples meant, all of them where None."""
    found = nearest_views(hashed.view_IV[places], keys.hash_K, radius)
    equal = _equal_bytes([hashed.digest_I[place] for place in places], keys.digest_K)
    found = {pair: (0, 0) for pair in equal} | found  # bytes may be equal where decoders are not
    by_image: dict[int, list[tuple[int, int]]] = {}
    for pair in sorted(found, key=lambda pair: (pair not in equal, found[pair][0], pair)):
        by_image.setdefault(pair[0], []).append(pair)
    return [
        DuplicatePair(
            hashed.images[places[i]], keys.images[k], keys.names[k], keys.source, split, *found[i, k], (i, k) in equal
        )
        for i, pairs in sorted(by_image.items())
        for _, k in pairs[:MOST_CANDIDATES]
    ]


def nearest_views(view_IV: Array, hash_K: Array, radius: int) -> dict[tuple[int, int], tuple[int, int]]:
    """(image, key) -> (distance, view) of pairs within the radius in some view: the nearest, or the first, view."""
    views = view_IV.shape[1]
    pairs = within(view_IV.ravel(), hash_K, radius)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for query, key, distance in zip(
        pairs.query_P.tolist(), pairs.key_P.tolist(), pairs.distance_P.tolist(), strict=True
    ):
        image, view = divmod(query, views)
        best[image, key] = min(best.get((image, key), (distance, view)), (distance, view))
    return best


def _equal_bytes(digest_I: Sequence[str], digest_K: Sequence[str]) -> set[tuple[int, int]]:
    places: dict[str, list[int]] = {}
    for key, digest in enumerate(digest_K):
        places.setdefault(digest, []).append(key)
    return {(image, key) for image, digest in enumerate(digest_I) for key in places.get(digest, [])[:MOST_CANDIDATES]}
