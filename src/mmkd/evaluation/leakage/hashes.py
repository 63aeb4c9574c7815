"""Perceptual hashes of a picture and of its mirrored and turned views; I pictures, V views, K pixels of a thumbnail."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mmkd.cards.samples import ImageRef
from mmkd.images.thumbnails import (
    THUMBNAIL_PIXELS,
    THUMBNAIL_SIDE,
    perceptual_hash,
    small_grey,
    thumbnail_of,
    thumbnails_from,
)
from mmkd.statistics.metrics import Array

_T = Image.Transpose
VIEWS: dict[str, Image.Transpose | None] = {
    "as it is": None,
    "mirrored": _T.FLIP_LEFT_RIGHT,
    "upside down": _T.FLIP_TOP_BOTTOM,
    "half turn": _T.ROTATE_180,
    "quarter turn left": _T.ROTATE_90,
    "quarter turn right": _T.ROTATE_270,
    "transposed": _T.TRANSPOSE,
    "transversed": _T.TRANSVERSE,
}
"""The symmetries of a square, by the names that rows of the audit give."""


def turned(image: Image.Image, view: int) -> Image.Image:
    """The picture in a view, given by its place in `VIEWS`."""
    how = list(VIEWS.values())[view]
    return image if how is None else image.transpose(how)


def view_hashes(image: Image.Image) -> Array:
    """`perceptual_hash` of each view, uint64 (V,).

    The picture is reduced once, not once a view: Lanczos has no direction, so the views of the reduced picture have the
    hashes of the whole one's, or miss them by the two bits that rounding between its two passes may flip.
    """
    small = small_grey(image)
    return np.array([perceptual_hash(turned(small, view)) for view in range(len(VIEWS))], np.uint64)


def view_pixels() -> Array:
    """Where in a thumbnail the pixels of the thumbnail of each view stand, int64 (V, K)."""
    numbers = Image.fromarray(np.arange(THUMBNAIL_PIXELS, dtype=np.uint8).reshape(THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return np.stack([np.asarray(turned(numbers, view), np.int64).ravel() for view in range(len(VIEWS))])


def hashes_of(references: Sequence[ImageRef], read: Callable[[ImageRef], Image.Image], workers: int = 0) -> Array:
    """uint64 (I, V); `workers` threads decode. Raises DataError for a picture that cannot be read."""
    return hashes_and_thumbnails(references, read, workers)[0]


def hashes_and_thumbnails(
    references: Sequence[ImageRef], read: Callable[[ImageRef], Image.Image], workers: int = 0
) -> tuple[Array, Array]:
    """As `hashes_of`, and the thumbnails of the pictures as they are, uint8 (I, K)."""

    def seen(reference: ImageRef) -> tuple[Array, bytes]:
        small = small_grey(read(reference))
        return view_hashes(small), thumbnail_of(small)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(seen, references))
    hashes = [np.empty((0, len(VIEWS)), np.uint64), *(hash_V[None] for hash_V, _ in found)]
    return np.concatenate(hashes), thumbnails_from([thumbnail for _, thumbnail in found])
