"""Maps of evidence over the picture that a model saw; G x G cells, H x W pixels."""

import numpy as np
from PIL import Image

SHOWN_PX = 384
MARK = np.array((255, 140, 0), np.float32)
STRONGEST = 0.65  # of the mark over the picture, whose greys stay visible under it
PLACES = (
    ("at the upper left", "at the top", "at the upper right"),
    ("at the left", "in the middle", "at the right"),
    ("at the lower left", "at the bottom", "at the lower right"),
)


def marked(view: Image.Image, loss_GG: np.ndarray, highest: float) -> Image.Image:
    """The picture in grey, orange where the map is positive; full at `highest`."""
    size = _size(view)
    share_GG = np.clip(loss_GG / highest, 0, 1) if highest > 0 else np.zeros_like(loss_GG)
    share = Image.fromarray(share_GG.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength_HW1 = STRONGEST * np.clip(np.asarray(share), 0, 1)[:, :, None]
    grey_HWC = np.asarray(view.convert("L").convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((grey_HWC * (1 - strength_HW1) + MARK * strength_HW1).round().astype(np.uint8))


def place_of(loss_GG: np.ndarray) -> str:
    """In words, where the map is highest."""
    row, column = np.unravel_index(loss_GG.argmax(), loss_GG.shape)
    third = [int(3 * (place + 0.5) / len(loss_GG)) for place in (row, column)]
    return PLACES[third[0]][third[1]]


def _size(view: Image.Image) -> tuple[int, int]:
    scale = SHOWN_PX / max(view.size)
    return max(1, round(view.width * scale)), max(1, round(view.height * scale))
