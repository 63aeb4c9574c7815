"""Rows of tables with the images in them as references, and files that tables name."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkd.cards.array_images import ArrowImage
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.paths import path_inside
from mmkd.reasons import BadRecordError
from mmkd.tables.formats import SUFFIXES, format_of

CellImages = Callable[[int, str, bytes], ArrowImage]


def table_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a table with its place (`pairs.csv, row 3`, from 1) for messages.

    Images stored in a Parquet or Arrow table come as references. Raises DataError when there is no such table, or from
    the first row on that cannot be read.
    """
    table = format_of(path, strict=True)
    if table is None:
        raise DataError(f"{path}: unknown kind of table; expected {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"no table {path}; check the path in the card")
    references = _one_reference_for_equal_bytes(path)
    for number, row in table.all_rows(path):
        if isinstance(row, BadRecordError):
            raise DataError(f"{path}: not readable as {path.suffix} after row {number} ({row.detail})")
        yield (
            f"{path.name}, row {number + 1}",
            {column: _cell(value, number, column, references) for column, value in row.items()},
        )


def _one_reference_for_equal_bytes(path: Path) -> CellImages:
    """Questions about one image often repeat it in every row: it is embedded once, from the first."""
    first: dict[str, ArrowImage] = {}

    def reference(row: int, column: str, data: bytes) -> ArrowImage:
        sha256 = bytes_digest(data)
        return first.setdefault(sha256, ArrowImage(path, row, column, sha256))

    return reference


def _cell(value: Any, row: int, column: str, references: CellImages) -> Any:
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")  # hubs store one of the two
    return references(row, column, value) if isinstance(value, bytes) else value


def file_inside(folder: Path, name: str, place: str) -> Path:
    """The real path of a file named in a table. Raises DataError when the name leads out of the folder."""
    try:
        return Path(path_inside(folder, name))
    except BadRecordError as error:
        raise DataError(f"{place}: {error.detail}; paths stay inside the folder of their table") from error
