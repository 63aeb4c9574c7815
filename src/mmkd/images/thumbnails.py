"""Small grey copies of pictures: the perceptual hash, thumbnails, and how well two of these correlate.

B pairs, K pixels of a thumbnail.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from mmkd.images.hamming import Array

HASH_SIDE = 32
HASH_FREQUENCIES = slice(1, 9)  # eight each way, without the constant ones
FLAT = 1e-6  # grey levels; differences below are rounding
THUMBNAIL_SIDE = 16
THUMBNAIL_PIXELS = THUMBNAIL_SIDE**2
ReadThumbnails = Callable[[Array], Array]
"""Places of records, ascending (B,) -> their thumbnails, uint8 (B, K)."""


def small_grey(image: Image.Image) -> Image.Image:
    """The picture in grey, HASH_SIDE x HASH_SIDE pixels (Lanczos). That of such a picture is the same picture."""
    return image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)


def perceptual_hash(image: Image.Image) -> int:
    """64-bit DCT hash: similar pictures differ in few bits.

    The picture in grey, 32 x 32 pixels (`small_grey`), is transformed by the orthonormal DCT-II; the 8 x 8 lowest
    frequencies without the constant row and column (as pHash of Zauner, 2010, does) are compared with their median.
    The most significant bit is frequency (1, 1), then row by row, vertical frequency first: (1, 2), ... A flat picture
    has hash 0.
    """
    from scipy.fft import dctn  # takes 0.3 s to import, which recipes are read without

    low_88 = dctn(np.asarray(small_grey(image), np.float64), norm="ortho")[HASH_FREQUENCIES, HASH_FREQUENCIES]
    bits = low_88 - np.median(low_88) > FLAT
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


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
