"""Pictures inside larger files: Parquet and Arrow tables, NumPy archives, HDF5. Files are opened once in a process.

H x W pixels.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from mmkd.cards.array_files import array_in, explained
from mmkd.cards.samples import decoded
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.tables.arrow import arrow_table

_READING = Lock()  # threads that want the same part wait for one reading of it, and do not each read it


@dataclass(frozen=True)
class ArrowImage:
    """An encoded image in a cell of a Parquet or Arrow table: bytes, or `{"bytes": ...}`.

    sha256: of the bytes, where it was known already.
    """

    path: Path
    row: int
    column: str
    sha256: str = field(default="", compare=False)

    def read(self) -> Image.Image:
        return decoded(self._bytes(), f"{self.path}, row {self.row + 1}, column {self.column!r}")

    def digest(self) -> str:
        return self.sha256 or bytes_digest(self._bytes())

    def _bytes(self) -> bytes:
        with _READING, explained(self.path):
            cell = _cell(self.path, self.row, self.column)
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise DataError(f"{self.path}, row {self.row + 1}: column {self.column!r} holds no bytes of an image")
        return data


def _cell(path: Path, row: int, column: str) -> Any:
    if path.suffix.lower() == ".arrow":
        return arrow_table(path).column(column)[row].as_py()
    first_G = _parquet(path)[1]
    group = max(g for g, first in enumerate(first_G) if first <= row)
    return _row_group(path, group, column)[row - first_G[group]].as_py()


@lru_cache(maxsize=8)
def _parquet(path: Path) -> tuple[Any, list[int]]:
    """The opened file, and the number of the first row of each group."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    return file, [sum(sizes[:group]) for group in range(len(sizes))]


@lru_cache(maxsize=3)  # pictures are read in order, by a few threads: they stand in one group or in two neighbours
def _row_group(path: Path, group: int, column: str) -> Any:
    return _parquet(path)[0].read_row_group(group, columns=[column]).column(column)


@dataclass(frozen=True)
class ArrayImage:
    """Pixels in a row of an array (N, H, W[, 3]) uint8 of an `.npz` or HDF5 file."""

    path: Path
    array: str
    row: int

    def read(self) -> Image.Image:
        return Image.fromarray(self._pixels()).convert("RGB")

    def digest(self) -> str:
        pixels = self._pixels()
        return bytes_digest(repr(pixels.shape).encode() + pixels.tobytes())

    def _pixels(self) -> Any:
        with explained(self.path):
            return np.array(array_in(self.path, self.array)[self.row])
