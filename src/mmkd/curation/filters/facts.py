"""What filters look at: the words of a record before its image is decoded, then the image.

H, W: height and width of a picture.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from PIL import Image

from mmkd.curation.filters.graphic import GraphicSigns, channel_sum, graphic_signs

SMALL_SIDE = 256  # pixels; enough to see axes and frames, cheap to look at


@dataclass(frozen=True)
class WordFacts:
    """caption: cleaned. language: ISO 639-1 or "". named: whether the caption names a modality outright."""

    caption: str
    labels: tuple[str, ...]
    licence: str
    language: str
    named: bool


class ImageFacts(Protocol):
    """size: width and height in pixels, upright, as the source has them. contrast: standard deviation of the grey
    levels (0..255). named: as in `WordFacts`."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def contrast(self) -> float: ...
    @property
    def signs(self) -> GraphicSigns: ...
    @property
    def named(self) -> bool: ...


@dataclass(frozen=True)
class SeenImage:
    """Facts of a picture at hand, worked out when they are asked for. small_HW3: it in RGB, at most SMALL_SIDE a side;
    pixels are picked, not blended, so that lines stay lines and colours stay few."""

    size: tuple[int, int]
    small_HW3: np.ndarray
    named: bool

    @cached_property
    def contrast(self) -> float:
        return float((channel_sum(self.small_HW3) / 3).std())

    @cached_property
    def signs(self) -> GraphicSigns:
        return graphic_signs(self.small_HW3)


@dataclass(frozen=True)
class KnownImage:
    """Facts of a picture that was seen earlier."""

    size: tuple[int, int]
    contrast: float
    signs: GraphicSigns
    named: bool


def image_facts(picture: Image.Image, named: bool) -> SeenImage:
    """Of a decoded picture in its own size."""
    scale = max(1.0, max(picture.size) / SMALL_SIDE)
    fitted = (max(1, round(picture.width / scale)), max(1, round(picture.height / scale)))
    small = picture.resize(fitted, Image.Resampling.NEAREST).convert("RGB")
    return SeenImage(picture.size, np.asarray(small), named)
