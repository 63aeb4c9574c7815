"""Rows of any table, to records: shared by text tables, Parquet and Hugging Face data sets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, each_caption
from mmkd.curation.settings.curate import FIELDS, NAMED, HubSource, TableSource
from mmkd.curation.sources.groups import group_in
from mmkd.errors import ConfigError
from mmkd.folders.paths import read_inside
from mmkd.folders.remote import File, RemoteFile
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.spans import Row
from mmkd.tables.values import as_text, captions_in, is_container, kind_of, matches


@dataclass(frozen=True)
class Images:
    """Where the image files are that rows name: `folder`/`before` + value + `after`, below `folder` or `root`; of a
    remote table, which stands for its folder, beside it.

    cure: what to do where they are elsewhere."""

    folder: File
    before: str = ""
    after: str = ""
    root: Path | None = None
    cure: str = ""


def check_columns(found: Iterable[str], source: TableSource | HubSource, where: str, advice: str = "") -> None:
    """Raise ConfigError when the table lacks the image or caption column, or one that the settings name.

    `found` is read until all of them are found. advice: what else to do than to name other columns.
    """
    named = [column for field in {*source.columns, "image", "caption"} for column in columns_of(source, field)]
    missing = {*named, *source.include}
    read = []
    for column in found:
        read.append(column)
        missing.discard(column)
        if not missing:
            return
    raise ConfigError(
        f"{where}: no column {', '.join(map(repr, sorted(missing)))} among {', '.join(read)}; "
        f"name the right ones under columns of source {source.name!r} (our field = table's column){advice}"
    )


def wanted_columns(source: TableSource | HubSource) -> set[str]:
    """The table's columns that are worth reading, if they are there."""
    return {column for field in FIELDS for column in columns_of(source, field)} | set(source.include)


def columns_of(source: TableSource | HubSource, field: str) -> list[str]:
    """The table's columns for one of our fields; of several, the first that a row fills counts."""
    named = source.columns.get(field, [] if field in NAMED else field)
    return [named] if isinstance(named, str) else named


def records_of_rows(
    rows: Iterable[tuple[int, Row]], file: str, source: TableSource | HubSource, images: Images, part: str = ""
) -> Iterator[Found]:
    """The records of numbered rows; rows that `include` does not select are marked.

    part: which of the source's tables this is, in the ids of rows that have none of their own.
    """
    for number, row in rows:
        where = f"{file}:{number}"
        identity = f"{source.name}{part}_{number:08d}"
        try:
            if isinstance(row, BadRecordError):
                raise row
            if not matches(row, source.include):
                yield Excluded(source.name)
                continue
            field = {name: _first_filled(row, columns_of(source, name)) for name in FIELDS}
            identity = _told(field, "id") or identity
            yield from _records(field, identity, where, source, images)
        except BadRecordError as bad:
            yield Rejected(source.name, where, identity, bad.reason, bad.detail)


def _records(
    field: Mapping[str, Any], identity: str, where: str, source: TableSource | HubSource, images: Images
) -> Iterator[Record]:
    """One, or one of each caption; those are of one group."""
    captions = captions_in(field["caption"], source.captions)
    record = Record(
        id=identity,
        image=image_of(field["image"], images),
        caption=captions[0],
        modality=_told(field, "modality") or source.modality,
        group=_told(field, "group") or group_in(source, *_names(field)) or identity,
        licence=_told(field, "licence") or source.licence,
        source=source.name,
        where=where,
        labels=_texts(field["labels"]),
        mention=" ".join(_texts(field["mention"])),
    )
    yield from each_caption(record, captions)


def _told(field: Mapping[str, Any], name: str) -> str:
    """The text of a field of ours. Raises BadRecordError that names it."""
    try:
        return as_text(field[name])
    except BadRecordError as bad:
        raise BadRecordError(bad.reason, f"{name}: {bad.detail}") from None


def _first_filled(row: Mapping[str, Any], columns: list[str]) -> Any:
    values = [row.get(column) for column in columns]
    filled = (value for value in values if value is not None and value == value and value != "")  # NaN is unequal
    return next(filled, values[0] if values else None)


def _texts(value: object) -> tuple[str, ...]:
    """What tables hold of labels and mentions: one text, a list of them, or nothing."""
    return tuple(text for one in (value if isinstance(value, list) else [value]) if (text := as_text(one)))


def names_in(rows: Iterable[tuple[int, Row]], source: TableSource | HubSource) -> Iterator[str]:
    """What `group` is searched in, row by row."""
    for _, row in rows:
        if isinstance(row, BadRecordError):
            continue
        try:
            yield from _names({name: _first_filled(row, columns_of(source, name)) for name in ("image", "id")})
        except BadRecordError:  # it is counted where the rows are read
            continue


def _names(field: Mapping[str, Any]) -> list[str]:
    """What may hold a group's name: the image's path as the table spells it, and the id."""
    image = field["image"].get("path") if isinstance(field["image"], Mapping) else field["image"]
    return [as_text(name) for name in (image, field["id"]) if not isinstance(name, bytes)]


def image_of(value: object, images: Images) -> bytes:
    """Encoded bytes from what tables store: bytes, a path, or `{bytes, path}` as Hugging Face writes it."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if is_container(value):
        raise BadRecordError(
            Reason.UNREADABLE_ROW,
            f"the image is {kind_of(value)} (pixels, or several images), expected bytes, a path or {{bytes, path}}",
        )
    if name := as_text(value):
        name = f"{images.before}{name}{images.after}"
        if isinstance(images.folder, RemoteFile):
            return images.folder.beside(name)
        return read_inside(images.folder, name, images.root, images.cure)
    raise BadRecordError(Reason.MISSING_FIELD, "the image is empty; expected a path or encoded bytes")
