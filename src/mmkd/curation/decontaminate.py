"""Evaluation images, which a corpus must not hold, and the records that match them.

M images, V views, N records, P pairs of a view and a record, B of them at once, K pixels of a thumbnail.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mmkd.images.hamming import Array, within
from mmkd.images.thumbnails import THUMBNAIL_PIXELS, ReadThumbnails, correlation

BLOCK_RECORDS = 2**20  # whose candidates are held at once
CHUNK_PAIRS = 2**14  # whose thumbnails are


@dataclass(frozen=True)
class EvaluationImages:
    """names: of each image, data set and sample. digests: SHA-256 of the bytes that the corpus would
    store. view_MV: perceptual hashes of its views, the first as it is. views: their names. pixel_VK: where in a
    thumbnail the pixels of the thumbnail of a view stand."""

    names: list[str]
    digests: list[str]
    view_MV: Array
    thumbnail_MK: Array
    views: list[str]
    pixel_VK: Array

    def thumbnails(self, query_B: Array) -> Array:
        """Of views, given by their places in the flat `view_MV`: uint8 (B, K)."""
        picture_B, view_B = np.divmod(query_B, len(self.views))
        return np.take_along_axis(self.thumbnail_MK[picture_B], self.pixel_VK[view_B], axis=1)


Match = tuple[float, int, int]
"""A record and a view of an evaluation image, the best of a record first: the correlation, negative; the distance in
bits; the view's place in the flat `view_MV`."""
ReadEvaluationImages = Callable[[], EvaluationImages]
"""Called once, when the corpus is really made: it reads all the images."""


def no_evaluation_images() -> EvaluationImages:
    """None, where no data sets are given."""
    no_thumbnail, same = np.empty((0, THUMBNAIL_PIXELS), np.uint8), np.arange(THUMBNAIL_PIXELS)[None]
    return EvaluationImages([], [], np.empty((0, 1), np.uint64), no_thumbnail, ["as it is"], same)


def contaminated(
    hash_N: Array, thumbnails: ReadThumbnails, evaluation: EvaluationImages, radius: int, min_correlation: float
) -> dict[int, str]:
    """Record -> the evaluation image that it matches.

    hash_N: perceptual hashes of the records. Of those within `radius` bits of a view the thumbnails are read; a record
    matches from `min_correlation` on. Of several images the best correlated counts, then the nearest, then the first.
    """
    best: dict[int, Match] = {}
    for query_B, record_B, distance_B in _candidates(hash_N, evaluation, radius):
        own_U, place_B = np.unique(record_B, return_inverse=True)
        correlation_B = correlation(thumbnails(own_U)[place_B], evaluation.thumbnails(query_B))
        for pair in np.flatnonzero(correlation_B >= min_correlation).tolist():
            found = -float(correlation_B[pair]), int(distance_B[pair]), int(query_B[pair])
            record = int(record_B[pair])
            best[record] = min(best.get(record, found), found)
    return {record: _described(found, evaluation) for record, found in sorted(best.items())}


def _candidates(hash_N: Array, evaluation: EvaluationImages, radius: int) -> Iterator[tuple[Array, Array, Array]]:
    """View, record and distance of pairs within the radius; records ascend, so that a shard is opened once or twice."""
    for first in range(0, len(hash_N), BLOCK_RECORDS):
        pairs = within(evaluation.view_MV.ravel(), hash_N[first : first + BLOCK_RECORDS], radius)
        order_P = np.argsort(pairs.key_P, kind="stable")
        for start in range(0, len(order_P), CHUNK_PAIRS):
            chunk = order_P[start : start + CHUNK_PAIRS]
            yield pairs.query_P[chunk], pairs.key_P[chunk] + first, pairs.distance_P[chunk]


def _described(found: Match, evaluation: EvaluationImages) -> str:
    negative, distance, query = found
    picture, view = divmod(query, len(evaluation.views))
    bits = f"{distance} bits of the perceptual hash from {evaluation.names[picture]}, {evaluation.views[view]}"
    return f"correlation {-negative:.3f}, {bits}"
