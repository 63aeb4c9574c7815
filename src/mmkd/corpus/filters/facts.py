"""What filters look at: the words of a record before its image is decoded, then the image.

H, W: height and width of a picture.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

SMALL_SIDE = 256  # pixels; enough to see axes and frames, cheap to look at


@dataclass(frozen=True)
class WordFacts:
    """caption: cleaned. language: ISO 639-1 or "". named: whether the caption names a modality outright."""

    caption: str
    labels: tuple[str, ...]
    licence: str
    language: str
    named: bool


@dataclass(frozen=True)
class ImageFacts:
    """size: width and height in pixels, upright. small_HW3: the picture in RGB, at most SMALL_SIDE a side; pixels
    are picked, not blended, so that lines stay lines and colours stay few. named: as in `WordFacts`."""

    size: tuple[int, int]
    small_HW3: np.ndarray
    named: bool


def channel_sum(picture_HW3: np.ndarray) -> np.ndarray:
    """Red, green and blue added, uint16 (H, W). Over so short an axis numpy's own `sum` takes ten times as long."""
    red_HW, green_HW, blue_HW = (picture_HW3[:, :, channel] for channel in range(3))
    added_HW: np.ndarray = red_HW.astype(np.uint16) + green_HW + blue_HW
    return added_HW


def image_facts(picture: Image.Image, named: bool) -> ImageFacts:
    """Of a decoded picture in its own size."""
    scale = max(1.0, max(picture.size) / SMALL_SIDE)
    fitted = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    small = picture.resize(fitted, Image.Resampling.NEAREST).convert("RGB")
    return ImageFacts(picture.size, np.asarray(small), named)
