"""How alike two pictures are, by tiny grey pictures ("looks") of them; B pairs, K pixels of a look."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from mmkd.images.hamming import Array

LOOK_SIDE = 16
LOOK_PIXELS = LOOK_SIDE**2
Looks = Callable[[Array], Array]
"""Places of records, ascending (B,) -> their looks, uint8 (B, K)."""


def look_of(small: Image.Image) -> bytes:
    """LOOK_PIXELS grey levels, row by row: means over the squares of a grey picture whose sides LOOK_SIDE divides."""
    return small.reduce((small.width // LOOK_SIDE, small.height // LOOK_SIDE)).tobytes()


def looks_from(stored: list[bytes]) -> Array:
    """What `look_of` gave, as an array: uint8 (B, K)."""
    return np.frombuffer(b"".join(stored), np.uint8).reshape(-1, LOOK_PIXELS)


def likeness(look_BK: Array, other_BK: Array) -> Array:
    """Pearson's correlation of the grey levels of each two looks (B,), 0 for what varies the other way.

    Brightness and contrast have no part in it. A picture of one level has no correlation: with another of one level it
    is alike (1), with any other it is not (0).
    """
    # a sum of LOOK_PIXELS products of two bytes is below 2**24, so float32 has it exactly, in any order
    one_BK, two_BK = look_BK.astype(np.float32), other_BK.astype(np.float32)
    one_B, two_B = (np.einsum("bk->b", each_BK).astype(np.float64) for each_BK in (one_BK, two_BK))

    def covariance(a_BK: Array, a_B: Array, b_BK: Array, b_B: Array) -> Array:
        product_B = np.einsum("bk,bk->b", a_BK, b_BK).astype(np.float64)
        covariance_B: Array = look_BK.shape[1] * product_B - a_B * b_B
        return covariance_B

    spread_2B = np.stack([covariance(one_BK, one_B, one_BK, one_B), covariance(two_BK, two_B, two_BK, two_B)])
    level_B = (spread_2B == 0).any(axis=0)
    scale_B = np.sqrt(np.where(level_B, 1.0, spread_2B[0])) * np.sqrt(np.where(level_B, 1.0, spread_2B[1]))
    alike_B: Array = np.clip(covariance(one_BK, one_B, two_BK, two_B) / scale_B, 0.0, 1.0)
    return np.where(level_B, (spread_2B == 0).all(axis=0), alike_B)
