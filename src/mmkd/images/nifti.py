"""NIfTI volumes, and their slices as radiologists view them; X, Y, Z voxels, H x W pixels of a slice."""

import math
from typing import Any

import numpy as np
from PIL import Image

from mmkd.errors import DataError
from mmkd.images.hamming import Array
from mmkd.reasons import BadRecordError, Reason

MAX_VOXELS = 2**28  # a gigabyte of 32-bit values; more than any scan, less than a worker's memory
AXES = ("sagittal", "coronal", "axial")


def nifti_volume(path: str) -> Array:
    """The first three axes, turned so that they lead to the right, the front and the head. Raises BadRecordError."""
    try:
        import nibabel
    except ImportError as error:
        raise DataError("NIfTI volumes are read with nibabel; install mmkd with its extra [nifti]") from error
    try:
        image: Any = nibabel.load(path)
        shape = image.shape
        if len(shape) < 3 or min(shape) < 1:
            raise BadRecordError(Reason.UNREADABLE_IMAGE, f"a volume of shape {shape}; expected at least three axes")
        if (voxels := math.prod(map(int, shape[:3]))) > MAX_VOXELS:
            raise BadRecordError(
                Reason.DECOMPRESSION_BOMB, f"{voxels:,} voxels claimed, at most {MAX_VOXELS:,} are read"
            )
        first = image.slicer[(..., *(slice(0, 1) for _ in shape[3:]))] if len(shape) > 3 else image
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(first.dataobj, first.affine))
        with np.errstate(all="ignore"):  # what is too large for 32 bits counts as unknown
            volume_XYZ = np.asarray(turned.dataobj, np.float32).reshape(turned.shape[:3])
    except BadRecordError:
        raise
    except Exception as error:  # parsers raise whatever a damaged header makes them stumble on
        raise BadRecordError(Reason.DAMAGED_FILE, f"{type(error).__name__}: {error}") from None
    known = np.isfinite(volume_XYZ)
    return np.where(known, volume_XYZ, volume_XYZ[known].min() if known.any() else 0.0)


def grey_window(volume_XYZ: Array, window: tuple[float, float]) -> tuple[float, float]:
    """The values that become black and white. Raises BadRecordError where they lie too far apart to divide."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (float(value) for value in np.percentile(volume_XYZ, window))
    if not np.isfinite(high - low):
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"values from {volume_XYZ.min():g} to {volume_XYZ.max():g}")
    return low, high


def slice_picture(volume_XYZ: Array, axis: int, place: int, low: float, high: float) -> Image.Image:
    """A slice in 8-bit grey, front or head up, the patient's right, or front, on the left. low is black, high white."""
    value_HW = np.take(volume_XYZ, place, axis=axis).T[::-1, ::-1]
    share_HW = np.clip((np.float64(value_HW) - low) / (high - low), 0, 1) if high > low else np.zeros(value_HW.shape)
    return Image.fromarray(np.rint(255 * share_HW).astype(np.uint8))
