"""Rows of tables in the formats that data sets come in."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkd.cards.array_images import ArrowImage
from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest
from mmkd.folders.paths import path_inside
from mmkd.reasons import BadRecordError

BATCH_ROWS = 64  # of Parquet, turned into Python values at once: they may hold images
CellImages = Callable[[int, str, bytes], ArrowImage]


def table_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a CSV, TSV, JSON, JSONL or Parquet table, with its place (`pairs.csv, row 3`, from 1) for messages.

    Images stored in a Parquet table come as references. Raises DataError when there is no such table, or from the first
    row on that cannot be read.
    """
    reader = TABLE_FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of table; expected {', '.join(TABLE_FORMATS)}")
    if not path.is_file():
        raise DataError(f"no table {path}; check the path in the card")
    number = 0
    try:
        for number, row in enumerate(reader(path), start=1):
            yield f"{path.name}, row {number}", row
    except (ValueError, csv.Error, OSError, RecursionError) as error:  # Unicode and JSON errors are ValueErrors
        raise DataError(f"{path}: not readable as {path.suffix} after row {number} ({error})") from error


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        records = csv.reader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        header = next(records, [])
        if len(set(header)) < len(header):
            raise ValueError(f"columns need distinct names, found {', '.join(header)}")
        for record in records:
            if record and len(record) != len(header):
                raise ValueError(f"the next row has {len(record)} cells, the header {len(header)}")
            if record:  # a blank line is an empty record
                yield dict(zip(header, record, strict=True))


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        for line in stream:
            if line.strip():
                yield _object(json.loads(line), "one JSON object a line")


def _json(path: Path) -> Iterator[Mapping[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(rows, list):
        raise ValueError(f"expected a list of objects, found {type(rows).__name__}")
    yield from (_object(row, "a list of objects") for row in rows)


def _object(row: object, expected: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"expected {expected}, found {str(row)[:40]!r}")
    return row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    from mmkd.tables.arrow import python_rows

    references = _one_reference_for_equal_bytes(path)
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                for row in python_rows(batch):
                    yield {column: _cell(value, number, column, references) for column, value in row.items()}
                    number += 1
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


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


TABLE_FORMATS: dict[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def file_inside(folder: Path, name: str, place: str) -> Path:
    """The real path of a file named in a table. Raises DataError when the name leads out of the folder."""
    try:
        return Path(path_inside(folder, name))
    except BadRecordError as error:
        raise DataError(f"{place}: {error.detail}; paths stay inside the folder of their table") from error
