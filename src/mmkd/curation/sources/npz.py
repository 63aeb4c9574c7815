"""MedMNIST's layout: one `.npz` with `{split}_images` (N, H, W) or (N, H, W, 3) and `{split}_labels` (N, L), uint8.

The images are read one after the other from the zip, since whole arrays of the 224-pixel releases do not fit into
memory. L = 1 holds the class number; L > 1 one flag a class (ChestMNIST), whose names are joined by commas.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from mmkd.cards.array_files import npy_header
from mmkd.curation.records.record import Excluded, Found, Rejected, Shard, group_in
from mmkd.curation.settings.sources import NpzSource
from mmkd.curation.sources.folders import check_include, labelled_record
from mmkd.errors import DataError
from mmkd.folders.paths import fingerprint_of_files
from mmkd.folders.regular import irregular
from mmkd.images.encode import png
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import matches

COLUMNS = ("class", "split")  # what `include` can select by
MIN_ROWS = 1024
SHARDS_PER_SPLIT = 8  # a part unpacks everything before it, so parts are few
# RuntimeError: a member is encrypted, or packed by a method that Python does not have
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    IndexError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


@dataclass(frozen=True)
class NpzReader:
    """An `.npz`; every part is a range of images of one split."""

    source: NpzSource

    def shards(self) -> list[Shard]:
        check_include(self.source, COLUMNS)
        return [shard for split in self.source.splits for shard in self._split(split)]

    def fingerprint(self) -> str:
        path = _existing(self.source)
        return fingerprint_of_files(path.parent, [path.name])

    def _split(self, split: str) -> list[Shard]:
        path = _existing(self.source)
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{split}_images.npy") as member:
                shape = image_shape(member)
            labels_NL = _labels(path, split)
        except KeyError as error:
            raise DataError(f"{path}: {error.args[0]}; expected {split}_images and {split}_labels") from error
        except DAMAGE as error:
            raise DataError(f"{path}: {split}_images or _labels not readable ({error})") from error
        if len(labels_NL) != shape[0]:
            raise DataError(f"{path}: {shape[0]} {split}_images but {len(labels_NL)} {split}_labels")
        if labels_NL.shape[1] > 1 and labels_NL.shape[1] != len(self.source.classes):
            raise DataError(
                f"{path}: {labels_NL.shape[1]} flags a row but {len(self.source.classes)} classes are named"
            )
        rows = max(MIN_ROWS, -(-shape[0] // SHARDS_PER_SPLIT))
        return [NpzShard(self.source, split, i, min(i + rows, shape[0])) for i in range(0, shape[0], rows)]


@dataclass(frozen=True)
class NpzShard:
    source: NpzSource
    split: str
    begin: int
    end: int

    def records(self) -> Iterator[Found]:
        labels_NL = _labels(self.source.path, self.split)
        row = self.begin - 1
        try:
            for row, image in enumerate(
                stored_images(self.source.path, f"{self.split}_images", self.begin, self.end), self.begin
            ):
                yield self._record(row, image, labels_NL[row])
        except DAMAGE as error:
            detail = f"images {row + 1} to {self.end - 1} cannot be read: {error}"
            yield Rejected(self.source.name, self._where(row + 1), "", Reason.DAMAGED_FILE, detail)

    def _where(self, row: int) -> str:
        return f"{self.source.path.name}:{self.split}_images[{row}]"

    def _record(self, row: int, image: np.ndarray, label_L: np.ndarray) -> Found:
        identity = f"{self.source.name}/{self.split}/{row:08d}"
        try:
            names = _class_names(label_L, self.source.classes)
        except BadRecordError as bad:
            return Rejected(self.source.name, self._where(row), identity, bad.reason, bad.detail)
        if not matches({"class": names, "split": self.split}, self.source.include):
            return Excluded(self.source.name)
        return labelled_record(
            self.source,
            identity,
            self._where(row),
            png(Image.fromarray(image), compress_level=1),
            ", ".join(names),
            row,
            group_in(self.source, self._where(row), identity),
        )


def _existing(source: NpzSource) -> Path:
    """Its path. Raises DataError where that is no regular file: a named pipe would be waited for."""
    if not source.path.is_file():
        raise DataError(
            f"{source.path}: {irregular(source.path) or 'no such file'}; correct the path of source {source.name!r}"
        )
    return source.path


def _class_names(label_L: np.ndarray, classes: list[str]) -> list[str]:
    if len(label_L) > 1:
        names = [name for name, flag in zip(classes, label_L, strict=True) if flag]
        if not names:
            raise BadRecordError(Reason.EMPTY_CAPTION, "no class applies, so there is nothing to say")
        return names
    if not 0 <= (number := int(label_L[0])) < len(classes):
        raise BadRecordError(Reason.UNREADABLE_ROW, f"label {number}, but {len(classes)} classes are named")
    return [classes[number]]


def _labels(path: Path, split: str) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open(f"{split}_labels.npy") as member:
        shape, fortran_order, dtype = npy_header(member)
        stored = member.read(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(stored, dtype).reshape(shape, order="F" if fortran_order else "C").reshape(shape[0], -1)


def stored_images(path: Path, array: str, begin: int, end: int) -> Iterator[np.ndarray]:
    """Some pictures of an array of the archive, (H, W) or (H, W, 3), one at a time. Raises what stands in DAMAGE."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{array}.npy") as member:
        shape = image_shape(member)[1:]
        size = int(np.prod(shape))
        member.seek(begin * size, io.SEEK_CUR)
        for _ in range(begin, end):
            if len(raw := member.read(size)) < size:
                raise EOFError(f"{len(raw)} of {size} bytes left")
            yield np.frombuffer(raw, np.uint8).reshape(shape)


def image_shape(member: IO[bytes]) -> tuple[int, ...]:
    """Read the array's header. Raises ValueError when it does not hold grey or RGB images of 8 bits."""
    shape, fortran_order, dtype = npy_header(member)
    is_images = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
    if dtype != np.uint8 or fortran_order or not is_images:
        raise ValueError(f"found {dtype} of shape {shape}, expected uint8 (N, H, W) or (N, H, W, 3) in C order")
    return tuple(shape)
