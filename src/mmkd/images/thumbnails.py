"""Thumbnails of pictures, tiny and grey, and how well two of them correlate; B pairs, K pixels of a thumbnail."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from mmkd.images.hamming import Array

THUMBNAIL_SIDE = 16
THUMBNAIL_PIXELS = THUMBNAIL_SIDE**2
ReadThumbnails = Callable[[Array], Array]
"""Places of records, ascending (B,) -> their thumbnails, uint8 (B, K)."""


def thumbnail_of(small: Image.Image) -> bytes:
    """THUMBNAIL_PIXELS grey levels, row by row: means over squares of a grey picture of multiples of THUMBNAIL_SIDE."""
    return small.reduce((small.width // THUMBNAIL_SIDE, small.height // THUMBNAIL_SIDE)).tobytes()


def thumbnails_from(stored: list[bytes]) -> Array:
    """What `thumbnail_of` gave, as an array: uint8 (B, K)."""
    return np.frombuffer(b"".join(stored), np.uint8).reshape(-1, THUMBNAIL_PIXELS)


def correlation(one_BK: Array, other_BK: Array) -> Array:
    """Pearson's correlation of the grey levels of each two thumbnails (B,), 0 where it is negative.

    Brightness and contrast have no part in it. A picture of one level has no correlation: with another of one level it
    counts as 1, with any other as 0.
    """
    # a sum of THUMBNAIL_PIXELS products of two bytes is below 2**24, so float32 has it exactly, in any order
    a_BK, b_BK = one_BK.astype(np.float32), other_BK.astype(np.float32)
    a_B, b_B = (np.einsum("bk->b", each_BK).astype(np.float64) for each_BK in (a_BK, b_BK))

    def covariance(x_BK: Array, x_B: Array, y_BK: Array, y_B: Array) -> Array:
        product_B = np.einsum("bk,bk->b", x_BK, y_BK).astype(np.float64)
        covariance_B: Array = one_BK.shape[1] * product_B - x_B * y_B
        return covariance_B

    variance_2B = np.stack([covariance(a_BK, a_B, a_BK, a_B), covariance(b_BK, b_B, b_BK, b_B)])
    flat_B = (variance_2B == 0).any(axis=0)
    scale_B = np.sqrt(np.where(flat_B, 1.0, variance_2B[0])) * np.sqrt(np.where(flat_B, 1.0, variance_2B[1]))
    correlation_B: Array = np.clip(covariance(a_BK, a_B, b_BK, b_B) / scale_B, 0.0, 1.0)
    return np.where(flat_B, (variance_2B == 0).all(axis=0), correlation_B)
