"""Rows of tables with the images in them as references, and files that tables name."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkd.cards.array_images import ArrowImage
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.paths import ROOT_CURE, path_inside
from mmkd.folders.regular import irregular
from mmkd.reasons import BadRecordError
from mmkd.tables.dialect import CURE, Declared
from mmkd.tables.formats import SUFFIXES, dialect_of, format_of, is_text

UNDECLARED = Declared()
CellImages = Callable[[int, str, bytes], ArrowImage]


def table_rows(path: Path, declared: Declared = UNDECLARED) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a table with its place (`pairs.csv, row 3`, from 1) for messages.

    Images stored in a Parquet or Arrow table come as references. Raises DataError when there is no such table, or from
    the first row on that cannot be read.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: unknown kind of table; expected {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):  # Path.is_file() raises for names that are too long
        kind = irregular(path)
        raise DataError(f"{path}: {kind}; expected a table" if kind else f"no table {path}; check the path in the card")
    if declared and not is_text(path):
        raise DataError(f"{path}: {path.suffix} has no delimiter, quoting or encoding; leave these out")
    dialect = dialect_of(path, declared)
    table = format_of(path, dialect, strict=True)
    if table is None:
        return
    references = _one_reference_for_equal_bytes(path)
    for number, row in table.all_rows(path):
        if isinstance(row, BadRecordError):
            advice = "" if dialect is None else f"; {CURE}"
            raise DataError(f"{path}: not readable as {path.suffix} after row {number} ({row.detail}){advice}")
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


def file_inside(folder: Path, name: str, place: str, root: Path | None = None, cure: str = ROOT_CURE) -> Path:
    """The real path of a file named in a table. Raises DataError when the name leads out of the folder and `root`."""
    try:
        return Path(path_inside(folder, name, root, cure))
    except BadRecordError as error:
        raise DataError(f"{place}: {error.detail}") from error
