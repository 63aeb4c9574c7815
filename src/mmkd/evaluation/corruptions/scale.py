"""Sizes: what a severity means does not depend on how many pixels a picture was stored with.

MedMNIST-C corrupts pictures of 224 x 224 pixels. Lengths here are in pixels of a picture whose short side has so many.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]
"""(H, W, 3) in 0..1."""

REFERENCE = 224  # pixels of the short side that severities are given for
LARGEST = 448  # pixels of the short side that are kept: models look at fewer, and blurs of more take long


def to_picture(image: Image.Image) -> Picture:
    """Of an RGB image. A short side of more than `LARGEST` pixels is reduced to that first."""
    short = min(image.size)
    if short > LARGEST:
        size = (round(image.width * LARGEST / short), round(image.height * LARGEST / short))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def to_image(image_HWC: Picture) -> Image.Image:
    """Rounded to eight bits; values outside 0..1 are clipped."""
    return Image.fromarray(np.rint(np.clip(image_HWC, 0, 1) * 255).astype(np.uint8), "RGB")


def lengths(image_HWC: Picture) -> float:
    """Pixels of this picture for one of a picture with a short side of `REFERENCE`."""
    return float(min(image_HWC.shape[:2]) / REFERENCE)


def at_reference_size(image_HWC: Picture, change: Callable[[Picture], Picture]) -> Picture:
    """The picture plus what `change` does to it at the reference size, so that grains and blocks are as coarse in a
    large picture as in a small one. A smaller picture is not enlarged first."""
    height, width = image_HWC.shape[:2]
    factor = min(1.0, 1 / lengths(image_HWC))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small_HWC = _resized(image_HWC, size, Image.Resampling.BOX)
    change_HWC = np.asarray(change(small_HWC), np.float32) - small_HWC
    return image_HWC + _resized(change_HWC, (width, height), Image.Resampling.NEAREST)


def _resized(value_HWC: Picture, size: tuple[int, int], how: Image.Resampling) -> Picture:
    """size: width and height. Values outside 0..1 stay as they are."""
    if size == (value_HWC.shape[1], value_HWC.shape[0]):
        return value_HWC
    planes = [Image.fromarray(np.ascontiguousarray(value_HWC[:, :, c]), "F") for c in range(value_HWC.shape[2])]
    return np.stack([np.asarray(plane.resize(size, how)) for plane in planes], axis=2)
