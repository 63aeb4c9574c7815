"""Rows of any table, to records: shared by text tables, Parquet and Hugging Face data sets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.corpus.records import BadRecordError, Reason, Record, Rejected, as_text, matches
from mmkd.corpus.settings import FIELDS, HubSource, TableSource
from mmkd.corpus.sources.files import read_inside
from mmkd.errors import ConfigError

ROWS_PER_SHARD = 1024
Row = Mapping[str, Any] | BadRecordError
"""Column -> value, or why the row could not be taken apart."""


@dataclass(frozen=True)
class Span:
    """Rows `first`, `first + 1`, ... of a table: in a text table the bytes begin..end, in Parquet the row groups."""

    first: int
    begin: int
    end: int


def check_columns(found: Iterable[str], source: TableSource | HubSource, where: str) -> None:
    """Raise ConfigError when the table lacks the image or caption column, or one that the settings name.

    `found` is drawn from only until all of them have been seen.
    """
    missing = {*source.columns.values(), *source.only, *(source.columns.get(f, f) for f in ("image", "caption"))}
    seen = []
    for column in found:
        seen.append(column)
        missing.discard(column)
        if not missing:
            return
    raise ConfigError(
        f"{where}: no column {', '.join(map(repr, sorted(missing)))} among {', '.join(seen)}; "
        f"name the right ones under columns of source {source.name!r} (our field = table's column)"
    )


def wanted_columns(source: TableSource | HubSource) -> set[str]:
    """The table's columns that are worth reading, if they are there."""
    return {source.columns.get(field, field) for field in FIELDS} | set(source.only)


def records_of_rows(
    rows: Iterable[tuple[int, Row]], file: str, source: TableSource | HubSource, folder: Path
) -> Iterator[Record | Rejected]:
    """The records of numbered rows; rows that `only` leaves out are skipped. Image paths are relative to `folder`."""
    for number, row in rows:
        where = f"{file}:{number}"
        identity = f"{source.name}_{number:08d}"
        try:
            if isinstance(row, BadRecordError):
                raise row
            if not matches(row, source.only):
                continue
            field = {name: row.get(source.columns.get(name, name)) for name in FIELDS}
            identity = as_text(field["id"]) or identity
            yield Record(
                id=identity,
                image=image_of(field["image"], folder),
                caption=_caption_of(field["caption"]),
                modality=as_text(field["modality"]) or source.modality,
                group=as_text(field["group"]) or identity,
                licence=as_text(field["licence"]) or source.licence,
                source=source.name,
                where=where,
            )
        except BadRecordError as bad:
            yield Rejected(source.name, where, identity, bad.reason, bad.detail)


def image_of(value: object, folder: Path) -> bytes:
    """Encoded bytes from what tables store: bytes, a path, or `{bytes, path}` as Hugging Face writes it."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if name := as_text(value):
        return read_inside(folder, name)
    raise BadRecordError(Reason.MISSING_FIELD, "the image is empty; expected a path or encoded bytes")


def _caption_of(value: object) -> str | bytes:
    if value is None or value != value:  # NaN, as in `as_text`
        raise BadRecordError(Reason.MISSING_FIELD, "the row has no caption")
    return value if isinstance(value, bytes) else str(value)
