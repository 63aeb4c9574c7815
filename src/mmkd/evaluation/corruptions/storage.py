"""What storing a picture does to it: fewer pixels, and JPEG's loss."""

import io

import numpy as np
from PIL import Image

from mmkd.evaluation.corruptions.scale import Picture, at_reference_size, to_image, to_picture
from mmkd.images.decode import decode

PIXELS_LEFT = (0.6, 0.5, 0.4, 0.3, 0.25)  # of each side
QUALITY = (50, 30, 15, 10, 7)  # of JPEG, out of 100


def pixelate(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """Each side has a share `PIXELS_LEFT` of the pixels of the reference size, shown as squares."""
    return at_reference_size(image_HWC, lambda small: _coarse(small, PIXELS_LEFT[severity - 1]))


def _coarse(image_HWC: Picture, share: float) -> Picture:
    image = to_image(image_HWC)
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    small = image.resize(size, Image.Resampling.BOX)
    return to_picture(small.resize(image.size, Image.Resampling.NEAREST))


def jpeg_compression(image_HWC: Picture, severity: int, rng: np.random.Generator) -> Picture:
    """JPEG at the reference size with `QUALITY`."""

    def compressed(small_HWC: Picture) -> Picture:
        buffer = io.BytesIO()
        to_image(small_HWC).save(buffer, "JPEG", quality=QUALITY[severity - 1])
        return to_picture(decode(buffer.getvalue()))

    return at_reference_size(image_HWC, compressed)
