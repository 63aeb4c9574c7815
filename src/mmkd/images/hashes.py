"""The perceptual hash of a picture, and the small grey picture that it and the thumbnail are made from."""

import numpy as np
from PIL import Image

HASH_SIDE = 32
HASH_FREQUENCIES = slice(1, 9)  # eight each way, without the constant ones
FLAT = 1e-6  # grey levels; differences below are rounding


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
