"""Pictures whose pixels are oblong, resampled to square ones."""

import math

from PIL import Image

from mmkd.reasons import BadRecordError, Reason

ALIKE = 0.01  # headers round: pixels that differ by less are square
LARGEST_RATIO = 100.0  # thick slices seen from the side have 30; more is an error of the header
MAX_PIXELS = 89_478_485  # of the resampled picture, as of a DICOM frame


def square(image: Image.Image, height: float, width: float) -> Image.Image:
    """The picture with square pixels of the shorter side. height, width: of a pixel, in any unit; where one of them is
    not a positive number, nothing is known of its shape, and the picture is as it was.

    Raises BadRecordError for a shape that no device has.
    """
    if not (math.isfinite(height) and math.isfinite(width) and height > 0 and width > 0):
        return image
    ratio = height / width
    if abs(ratio - 1) < ALIKE:
        return image
    size = (image.width, round(image.height * ratio)) if ratio > 1 else (round(image.width / ratio), image.height)
    if not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO or math.prod(size) > MAX_PIXELS:
        raise BadRecordError(
            Reason.UNREADABLE_IMAGE,
            f"its header claims pixels {ratio:g} times as high as wide, {size[0]:,} x {size[1]:,} square ones; "
            f"at most {LARGEST_RATIO:g} times and {MAX_PIXELS:,} pixels are read: correct the spacing in the header",
        )
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)
