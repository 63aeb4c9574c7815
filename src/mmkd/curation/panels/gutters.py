"""The panels of a compound figure, by the white or black gutters between them.

Recursive cuts along empty rows and columns (X-Y cut: Nagy and Seth, 1984), found by projection profiles. H, W: height
and width of the picture in pixels.
"""

import numpy as np
from PIL import Image

from mmkd.images.box import Box

LOOK_SIDE = 600  # pixels; gutters of 2 pixels in the largest figures of journals are still one pixel wide
WHITE = 236  # grey level from which a pixel is paper
BLACK = 12  # and up to which it is a black gutter
CLEAN = 0.995  # share of a gutter's pixels that are so: JPEG blurs edges, and a label may reach into it
MIN_SHARE = 0.12  # of the figure's shorter side: smaller pieces are letters, scales and legends
MIN_PIXELS = 24
MAX_DEPTH = 4


def panel_boxes(picture: Image.Image) -> list[Box]:
    """The panels in reading order (bands from the top, in them from the left); one box for a picture without gutters.

    Gutters are looked for in all of one colour: white first, and black where white finds none.
    """
    scale = max(1.0, max(picture.size) / LOOK_SIDE)
    small = picture.convert("L").resize(
        (max(1, round(picture.width / scale)), max(1, round(picture.height / scale))), Image.Resampling.BOX
    )
    grey_HW = np.asarray(small)
    least = max(MIN_PIXELS, round(MIN_SHARE * min(grey_HW.shape)))
    whole = Box(0, 0, grey_HW.shape[1], grey_HW.shape[0])
    for empty_HW in (grey_HW >= WHITE, grey_HW <= BLACK):
        found = [box for box in _cut(empty_HW, whole, MAX_DEPTH) if min(box.width, box.height) >= least]
        if len(found) > 1:
            return [_scaled(box, picture.size, grey_HW.shape) for box in found]
    return [Box(0, 0, *picture.size)]


def _cut(empty_HW: np.ndarray, box: Box, depth: int) -> list[Box]:
    """The pieces between the gutters across the box, and those along it, until none is left."""
    inside = _trimmed(empty_HW, box)
    if inside is None:
        return []
    if depth == 0:
        return [inside]
    for rows in (True, False):
        pieces = _pieces(empty_HW, inside, rows)
        if len(pieces) > 1:
            return [part for piece in pieces for part in _cut(empty_HW, piece, depth - 1)]
    return [inside]


def _trimmed(empty_HW: np.ndarray, box: Box) -> Box | None:
    """The box without its empty margins; None where all of it is empty."""
    rows = spans(_profile(empty_HW, box, rows=True))
    if not rows:
        return None
    box = Box(box.left, box.top + rows[0][0], box.right, box.top + rows[-1][1])
    columns = spans(_profile(empty_HW, box, rows=False))
    return Box(box.left + columns[0][0], box.top, box.left + columns[-1][1], box.bottom) if columns else None


def _pieces(empty_HW: np.ndarray, box: Box, rows: bool) -> list[Box]:
    found = spans(_profile(empty_HW, box, rows))
    if rows:
        return [Box(box.left, box.top + begin, box.right, box.top + end) for begin, end in found]
    return [Box(box.left + begin, box.top, box.left + end, box.bottom) for begin, end in found]


def _profile(empty_HW: np.ndarray, box: Box, rows: bool) -> np.ndarray:
    """Which rows (or columns) of the box hold something."""
    inside = empty_HW[box.top : box.bottom, box.left : box.right].view(np.uint8)
    # no side is longer than LOOK_SIDE, so 16 bits hold every sum; a mean of booleans takes four times as long
    empty = inside.sum(axis=1 if rows else 0, dtype=np.uint16)
    return np.asarray(empty.astype(np.float64) / inside.shape[1 if rows else 0] < CLEAN)


def spans(filled: np.ndarray) -> list[tuple[int, int]]:
    """Begin and end of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], filled.astype(np.int8), [0]))))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _scaled(box: Box, size: tuple[int, int], looked: tuple[int, ...]) -> Box:
    across, down = size[0] / looked[1], size[1] / looked[0]
    return Box(
        int(box.left * across), int(box.top * down), min(size[0], round(box.right * across)),
        min(size[1], round(box.bottom * down)),
    )  # fmt: skip
