"""Rows of tables in the formats that data sets come in, and their cells."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkd.corpus.records import BadRecordError
from mmkd.corpus.sources.files import path_inside
from mmkd.errors import DataError


def table_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row of a CSV, TSV, JSONL or Parquet table, with its place (`pairs.csv, row 3`, from 1) for messages."""
    reader = TABLE_FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of table; expected {', '.join(TABLE_FORMATS)}")
    if not path.is_file():
        raise DataError(f"no table {path}; check the path in the card")
    try:
        for number, row in enumerate(reader(path), start=1):
            yield f"{path.name}, row {number}", row
    except (ValueError, csv.Error) as error:  # UnicodeDecodeError, JSONDecodeError and ArrowInvalid are ValueErrors
        raise DataError(f"{path}: not readable as {path.suffix} ({error})") from error


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        yield from csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"expected one JSON object a line, found {line[:40]!r}")
            yield row


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    for batch in parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


TABLE_FORMATS: dict[str, Callable[[Path], Iterator[Mapping[str, Any]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}


def cell(row: Mapping[str, Any], column: str, place: str, card_id: str) -> str:
    """The text of a cell. Raises DataError when the column is missing or the cell empty."""
    value = row.get(column)
    if value is None or not str(value).strip():
        problem = "is empty" if column in row else f"is missing; columns found: {', '.join(map(str, row))}"
        raise DataError(f"{card_id}: {place}: column {column!r} {problem}")
    return str(value)


def file_inside(folder: Path, name: str, place: str) -> Path:
    """The real path of a file named in a table. Raises DataError when the name leads out of the table's folder."""
    try:
        return Path(path_inside(folder, name))
    except BadRecordError as error:
        raise DataError(f"{place}: {error.detail}; paths stay inside the folder of their table") from error
