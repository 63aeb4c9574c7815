"""What filters look at in an image: its size, its contrast, and whether it looks drawn (a plot, a diagram, a table).

H, W: height and width of the image.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from mmkd.curation.panels.gutters import spans
from mmkd.curation.settings.selection import MUCH_PAPER

SMALL_SIDE = 256  # pixels; enough to see axes and frames, cheap to look at
PAPER = 250  # grey level from which a pixel counts as paper; the glass of a slide is darker
INK = 110  # and up to which as ink
LEVELS = 16  # of a colour channel: shades that differ less are one colour
MOST = 0.97  # of the pixels
FEW_COLOURS = 6
LESS_PAPER = 0.05  # so much less is enough where there is another sign
LINE_SHARE = 0.5  # of the height or width: an unbroken run of ink this long is an axis or a rule,
LINE_WIDTH = 3  # if it is no wider than this, in pixels; the dark around a body is wider


@dataclass(frozen=True)
class GraphicSigns:
    """paper: share of white pixels. colours: how many shades make up nearly all pixels. lines: straight, dark, thin."""

    paper: float
    colours: int
    lines: int

    def drawn(self, much: float = MUCH_PAPER) -> bool:
        """Mostly paper, or a little less of it with ruled lines or few shades. Scans and photographs have little."""
        ruled = self.lines >= 1 or self.colours <= FEW_COLOURS
        return self.paper >= much - LESS_PAPER * ruled


@dataclass(frozen=True)
class ImageFacts:
    """size: width and height in pixels, upright, as the source has them. image: None where all facts are known."""

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


def channel_sum(picture_HW3: np.ndarray) -> np.ndarray:
    """Red, green and blue added, uint16 (H, W). Over so short an axis numpy's own `sum` takes ten times as long."""
    red_HW, green_HW, blue_HW = (picture_HW3[:, :, channel] for channel in range(3))
    added_HW: np.ndarray = red_HW.astype(np.uint16) + green_HW + blue_HW
    return added_HW


def graphic_signs(picture_HW3: np.ndarray) -> GraphicSigns:
    """The signs of an RGB picture, uint8."""
    grey_HW = channel_sum(picture_HW3) // 3
    red_HW, green_HW, blue_HW = (picture_HW3[:, :, k].astype(np.uint16) * LEVELS // 256 for k in range(3))
    code_HW = (red_HW * LEVELS + green_HW) * LEVELS + blue_HW
    counts = np.sort(np.bincount(code_HW.ravel()))[::-1]
    colours = int(np.searchsorted(np.cumsum(counts), MOST * code_HW.size)) + 1
    ink_HW = grey_HW <= INK
    lines = sum(_thin_lines(_longest_run(ink) >= LINE_SHARE * ink.shape[1]) for ink in (ink_HW, ink_HW.T))
    return GraphicSigns(float((grey_HW >= PAPER).mean()), colours, lines)


def _thin_lines(long_H: np.ndarray) -> int:
    return sum(end - begin <= LINE_WIDTH for begin, end in spans(long_H))


def _longest_run(ink_HW: np.ndarray) -> np.ndarray:
    """The longest unbroken run of True in each row (H,)."""
    column_W = np.arange(ink_HW.shape[1], dtype=np.int32)
    last_gap_HW = np.maximum.accumulate(np.where(ink_HW, np.int32(-1), column_W), axis=1)
    longest_H: np.ndarray = (column_W - last_gap_HW).max(axis=1)
    return longest_H
