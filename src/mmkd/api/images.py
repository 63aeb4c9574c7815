"""Pictures as Python callers have them: paths, bytes, Pillow images, arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from mmkd.archive.index import one_picture
from mmkd.errors import DataError
from mmkd.images.decode import decode
from mmkd.reasons import BadRecordError

ImageLike: TypeAlias = str | Path | bytes | Image.Image | np.ndarray[Any, Any]


def opened(image: ImageLike, place: int = 0) -> Image.Image:
    """In RGB, upright. place: in the caller's list, for messages.

    A path may be any file that holds a picture, also DICOM; of a volume, the middle slice is taken, and a line says so.
    Arrays are uint8, (H, W) or (H, W, 3). Raises DataError.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        return _of_array(image, place)
    if isinstance(image, bytes):
        try:
            return decode(image)
        except BadRecordError as bad:
            raise DataError(f"image {place}: cannot be read as a picture ({bad.reason}: {bad.detail})") from bad
    if isinstance(image, str | Path):
        return one_picture(Path(image))[1]
    kind = type(image).__name__
    raise DataError(f"image {place}: found {kind}; expected a path, bytes, a Pillow image or an array of uint8")


def _of_array(image: np.ndarray[Any, Any], place: int) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise DataError(
            f"image {place}: found an array of {image.dtype} of shape {image.shape}; expected uint8 from 0 to 255 of "
            "shape (H, W) or (H, W, 3)"
        )
    return Image.fromarray(image).convert("RGB")


def as_list(images: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    """One picture as a list of it; an array of four axes is a batch."""
    one = isinstance(images, str | Path | bytes | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
    return [images] if one else images  # type: ignore[list-item, return-value]
