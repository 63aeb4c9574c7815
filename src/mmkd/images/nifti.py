"""NIfTI volumes, and their slices as radiologists view them; X, Y, Z voxels, C colours, H x W pixels of a slice."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from mmkd.errors import DataError
from mmkd.folders.regular import check_regular
from mmkd.images.dicom import every
from mmkd.images.dicom_geometry import LOWEST_16, NO_TISSUE_HU
from mmkd.images.hamming import Array
from mmkd.images.square import square
from mmkd.reasons import BadRecordError, Reason
from mmkd.settings import Settings

MAX_VOXELS = 2**28  # a gigabyte of 32-bit values; more than any scan, less than a worker's memory
AXES = ("sagittal", "coronal", "axial")
COLOURS = ("R", "G", "B")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
CT = ("ct", "computed tomography")


class SliceKeys(Settings):
    """How slices of NIfTI volumes are seen.

    axis: the slices' plane. window: percentiles of the volume's values that become black and white.
    """

    axis: Literal["sagittal", "coronal", "axial"] = "axial"
    window: tuple[float, float] = (0.5, 99.5)


def nifti_slices(path: str, keys: SliceKeys, step: int, modality: str) -> Iterator[tuple[int, Image.Image]]:
    """Place and picture of every `step`th slice, as `every` has it. modality: decides what is padding.

    Raises BadRecordError, before the first slice.
    """
    axis = AXES.index(keys.axis)
    volume = nifti_volume(path, modality.strip().lower() in CT)
    low, high = grey_window(volume, keys.window)
    slice_picture(volume, axis, 0, low, high)  # whose shape may be refused, then for all of them
    for place in every(range(volume.value_XYZ.shape[axis]), step):
        yield place, slice_picture(volume, axis, place, low, high)


def nifti_places(path: str, keys: SliceKeys, step: int) -> Sequence[int]:
    """The places that `nifti_slices` gives, by the header alone. Raises BadRecordError."""
    image, _ = _opened(path)
    try:
        turn = nibabel_library().io_orientation(image.affine)
        lengths = {int(turn[axis, 0]): image.shape[axis] for axis in range(3)}
    except Exception as error:  # as in _opened
        raise _damaged(path, error) from None
    return every(range(lengths[AXES.index(keys.axis)]), step)


@dataclass(frozen=True)
class Volume:
    """value_XYZ: float32, its axes lead to the right, the front and the head, NaN where nothing was measured; of
    colours uint8 (X, Y, Z, 3). spacing: of the voxels along each axis, in mm."""

    value_XYZ: Array
    spacing: tuple[float, float, float]

    @property
    def is_coloured(self) -> bool:
        return self.value_XYZ.ndim == 4


def nifti_volume(path: str, is_ct: bool = False) -> Volume:
    """The first three axes. Padding was not measured: the lowest value of signed 16 bits, and in CT what is far below
    air. Of complex values the magnitude is taken.

    Raises BadRecordError.
    """
    image, shape = _opened(path)
    nibabel = nibabel_library()
    try:
        first = image.slicer[(..., *(slice(0, 1) for _ in shape[3:]))] if len(shape) > 3 else image
        turn = nibabel.io_orientation(first.affine)
        turned = nibabel.apply_orientation(np.asanyarray(first.dataobj).reshape(shape[:3]), turn)
        lengths = nibabel.affines.voxel_sizes(first.affine)[np.argsort(turn[:, 0])].tolist()
    except Exception as error:  # as in _opened
        raise _damaged(path, error) from None
    value_XYZ = _colours(turned) if turned.dtype.names else _measured(turned, is_ct)
    return Volume(value_XYZ, (lengths[0], lengths[1], lengths[2]))


def nibabel_library() -> Any:
    """nibabel. Raises DataError that says what to install."""
    try:
        import nibabel.affines
    except ImportError as error:
        raise DataError("NIfTI volumes are read with nibabel; install mmkd with its extra [nifti]") from error
    return nibabel


def _opened(path: str) -> tuple[Any, tuple[int, ...]]:
    """The image, of which only the header is read, and its shape, whose claim is checked. Raises BadRecordError."""
    nibabel = nibabel_library()
    try:
        check_regular(path)
        image = nibabel.load(path)
        shape = tuple(map(int, image.shape))
    except BadRecordError:
        raise
    except FileNotFoundError:
        raise BadRecordError(Reason.MISSING_FILE, f"{os.path.basename(path)}: no such file") from None
    except Exception as error:  # parsers raise whatever a damaged header makes them stumble on
        raise _damaged(path, error) from None
    if len(shape) < 3 or min(shape) < 1:
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"a volume of shape {shape}; expected at least three axes")
    if (voxels := math.prod(shape[:3])) > MAX_VOXELS:
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, f"{voxels:,} voxels claimed, at most {MAX_VOXELS:,} are read")
    return image, shape


def _damaged(path: str, error: Exception) -> BadRecordError:
    detail = f"{type(error).__name__}: {error}".replace(path, os.path.basename(path))
    return BadRecordError(Reason.DAMAGED_FILE, detail)


def _colours(turned_XYZ: Array) -> Array:
    if not set(COLOURS) <= set(turned_XYZ.dtype.names or ()):
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"voxels of fields {turned_XYZ.dtype.names}; expected R, G, B")
    return np.stack([turned_XYZ[colour] for colour in COLOURS], axis=-1)


def _measured(turned_XYZ: Array, is_ct: bool) -> Array:
    """float32, NaN where nothing was measured."""
    with np.errstate(all="ignore"):  # what is too large for 32 bits counts as unknown
        real_XYZ = np.abs(turned_XYZ) if np.iscomplexobj(turned_XYZ) else turned_XYZ
        value_XYZ = np.asarray(real_XYZ, np.float32)
    known = np.isfinite(value_XYZ)
    seen = known & (value_XYZ != LOWEST_16) & ((value_XYZ > NO_TISSUE_HU) | (not is_ct))
    return np.where(seen if seen.any() else known, value_XYZ, np.float32(np.nan))


def grey_window(volume: Volume, window: tuple[float, float]) -> tuple[float, float]:
    """The values that become black and white, percentiles of what was measured.

    Raises BadRecordError where they lie too far apart to divide.
    """
    if volume.is_coloured:
        return 0.0, 255.0
    known = volume.value_XYZ[np.isfinite(volume.value_XYZ)]
    if not known.size:
        return 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (float(value) for value in np.percentile(known, window))
    if not np.isfinite(high - low):
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"values from {known.min():g} to {known.max():g}")
    return low, high


def slice_picture(volume: Volume, axis: int, place: int, low: float, high: float) -> Image.Image:
    """A slice in 8 bits with square pixels, front or head up, the patient's right, or front, on the left.

    low, and what was not measured, is black; high is white. Colours are as they are. Raises BadRecordError.
    """
    width, height = (length for other, length in enumerate(volume.spacing) if other != axis)
    seen = np.take(volume.value_XYZ, place, axis=axis).swapaxes(0, 1)[::-1, ::-1]
    if volume.is_coloured:
        picture = Image.fromarray(np.ascontiguousarray(seen))
    else:
        share_HW = np.clip((np.float64(seen) - low) / (high - low), 0, 1) if high > low else np.zeros(seen.shape)
        picture = Image.fromarray(np.rint(255 * np.nan_to_num(share_HW)).astype(np.uint8))
    return square(picture, height, width)
