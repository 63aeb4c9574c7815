"""Does a picture look drawn: a plot, a diagram, a table, a screenshot? A cheap test on a small picture.

H, W: height and width of the picture.
"""

from dataclasses import dataclass

import numpy as np

PAPER = 240  # grey level from which a pixel counts as paper
INK = 110  # and up to which as ink
BITS = 5  # dropped of a colour channel's 8: shades that differ less are one colour
MOST = 0.97  # of the pixels
FEW_COLOURS = 24
MUCH_PAPER = 0.5
LINE_SHARE = 0.5  # of the height or width: an unbroken run of ink this long is an axis or a rule


@dataclass(frozen=True)
class GraphicSigns:
    """paper: share of white pixels. colours: how many shades make up nearly all pixels. lines: straight dark ones."""

    paper: float
    colours: int
    lines: int

    @property
    def drawn(self) -> bool:
        """Much paper, and either ruled lines or few shades. Tissue on white glass has neither, scans have no paper."""
        return self.paper >= MUCH_PAPER and (self.lines >= 1 or self.colours <= FEW_COLOURS)


def graphic_signs(picture_HW3: np.ndarray) -> GraphicSigns:
    """The signs of an RGB picture, uint8."""
    grey_HW = picture_HW3.astype(np.uint16).sum(axis=2) // 3
    shade_HW3 = (picture_HW3 >> BITS).astype(np.uint16)
    code = ((shade_HW3[..., 0] << 6) | (shade_HW3[..., 1] << 3) | shade_HW3[..., 2]).ravel()
    counts = np.sort(np.bincount(code, minlength=512))[::-1]
    colours = int(np.searchsorted(np.cumsum(counts), MOST * code.size)) + 1
    ink_HW = grey_HW <= INK
    lines = sum(int((_longest_run(ink) >= LINE_SHARE * ink.shape[1]).sum()) for ink in (ink_HW, ink_HW.T))
    return GraphicSigns(float((grey_HW >= PAPER).mean()), colours, lines)


def _longest_run(ink_HW: np.ndarray) -> np.ndarray:
    """The longest unbroken run of True in each row (H,)."""
    run_H = np.zeros(ink_HW.shape[0], np.int64)
    longest_H = run_H.copy()
    for column_H in ink_HW.T:
        run_H = (run_H + 1) * column_H
        longest_H = np.maximum(longest_H, run_H)
    return longest_H
