"""What filters look at in a picture. H, W: its height and width."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mmkd.curation.facts.graphic import GraphicSigns, channel_sum, graphic_signs
from mmkd.curation.facts.text import PairText

SMALL_SIDE = 256  # pixels; enough to see axes and frames, cheap to look at


@dataclass(frozen=True)
class ImageFacts:
    """size: width and height in pixels, upright, as the source has them. image: None where all facts are known."""

    text: PairText
    size: tuple[int, int]
    image: Image.Image | None = None

    @cached_property
    def small_rgb(self) -> np.ndarray:
        """In RGB, at most SMALL_SIDE a side; pixels are picked, not blended: lines stay lines and colours stay few."""
        if self.image is None:
            raise ValueError("facts from a cached shard have no picture")
        scale = max(1.0, max(self.size) / SMALL_SIDE)
        fitted = (max(1, round(self.size[0] / scale)), max(1, round(self.size[1] / scale)))
        return np.asarray(self.image.resize(fitted, Image.Resampling.NEAREST).convert("RGB"))

    @cached_property
    def contrast(self) -> float:
        """Standard deviation of the grey levels (0..255)."""
        return float((channel_sum(self.small_rgb) / 3).std())

    @cached_property
    def signs(self) -> GraphicSigns:
        return graphic_signs(self.small_rgb)
