"""Perceptual hashes of a picture and of its mirrored and turned views; I pictures, V views."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mmkd.corpus.images import HASH_SIDE, perceptual_hash
from mmkd.evaluation.data.samples import ImageRef
from mmkd.evaluation.statistics.metrics import Array

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
    small = image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)
    return np.array([perceptual_hash(turned(small, view)) for view in range(len(VIEWS))], np.uint64)


def hashes_of(references: Sequence[ImageRef], read: Callable[[ImageRef], Image.Image], workers: int = 0) -> Array:
    """uint64 (I, V); `workers` threads decode. Raises DataError for a picture that cannot be read."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        found = list(pool.map(lambda reference: view_hashes(read(reference)), references))
    return np.stack(found) if found else np.empty((0, len(VIEWS)), np.uint64)
