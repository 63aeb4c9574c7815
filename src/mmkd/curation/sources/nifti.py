"""NIfTI volumes in a folder per class: slices as pictures, seen as radiologists do; X, Y, Z voxels."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from mmkd.curation.records.record import Found, LeftOut, Record, Rejected, Shard
from mmkd.curation.settings.curate import NiftiSource
from mmkd.curation.sources.folders import COLUMNS, check_only
from mmkd.curation.sources.groups import check_group, group_in
from mmkd.errors import DataError
from mmkd.folders.paths import files_below, fingerprint_of_files, path_inside
from mmkd.images.hamming import Array
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import matches

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**28  # a gigabyte of 32-bit values; more than any scan, less than a worker's memory
AXES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class NiftiReader:
    """Classes are the first-level folders; every part is a volume."""

    source: NiftiSource

    def shards(self) -> list[Shard]:
        check_only(self.source, COLUMNS)
        files = self._files()
        check_group(self.source, files)
        return [NiftiShard(self.source, name) for name in files]

    def fingerprint(self) -> str:
        return fingerprint_of_files(self.source.path, self._files())

    def _files(self) -> list[str]:
        files = [name for name in files_below(self.source.path, SUFFIXES) if "/" in name]
        if not files:
            raise DataError(f"{self.source.path}: volumes found, but none in a folder of its class; make one per class")
        return files


@dataclass(frozen=True)
class NiftiShard:
    """One volume."""

    source: NiftiSource
    name: str

    def fingerprint(self) -> str:
        return fingerprint_of_files(self.source.path, [self.name])

    def records(self) -> Iterator[Found]:
        source, identity = self.source, f"{self.source.name}/{self.name}"
        label = PurePosixPath(self.name).parts[0]
        if not matches({"class": label, "image": self.name}, source.only):
            yield LeftOut(source.name)  # a volume that is not read counts once, as one that cannot be read does
            return
        try:
            volume_XYZ = _volume(path_inside(source.path, self.name))
            low, high = _percentiles(volume_XYZ, source.window)
        except BadRecordError as bad:
            yield Rejected(source.name, self.name, identity, bad.reason, bad.detail)
            return
        axis = AXES.index(source.axis)
        count = volume_XYZ.shape[axis]
        words = source.names.get(label, label.replace("_", " "))
        for number, place in enumerate(range(count // 2 % source.step, count, source.step)):
            template = source.templates[number % len(source.templates)]
            yield Record(
                id=f"{identity}/{place:04d}",
                image=_png(_shown(volume_XYZ, axis, place), low, high),
                caption=template.replace("{name}", words).replace("{plane}", source.axis),
                modality=source.modality,
                group=group_in(source, self.name) or identity,
                licence=source.licence,
                source=source.name,
                where=f"{self.name}:{place}",
            )


def _volume(path: str) -> Array:
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


def _percentiles(volume_XYZ: Array, window: tuple[float, float]) -> tuple[float, float]:
    """Raises BadRecordError where the values lie too far apart to have any between them."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (float(value) for value in np.percentile(volume_XYZ, window))
    if not np.isfinite(high - low):
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"values from {volume_XYZ.min():g} to {volume_XYZ.max():g}")
    return low, high


def _shown(volume_XYZ: Array, axis: int, place: int) -> Array:
    """A slice as rows from top to bottom: front or head up; the patient's right, or front, on the left."""
    shown_HW: Array = np.take(volume_XYZ, place, axis=axis).T[::-1, ::-1]
    return shown_HW


def _png(value_HW: Array, low: float, high: float) -> bytes:
    share_HW = np.clip((np.float64(value_HW) - low) / (high - low), 0, 1) if high > low else np.zeros(value_HW.shape)
    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * share_HW).astype(np.uint8)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
