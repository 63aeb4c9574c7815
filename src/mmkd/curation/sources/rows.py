"""Rows of any table, to records: shared by text tables, Parquet and Hugging Face data sets."""

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmkd.curation.records.record import Excluded, Found, Noted, Record, Rejected, each_caption, group_in
from mmkd.curation.settings.sources import FIELDS, NAMED, RowSource
from mmkd.curation.sources.dicom_series import SHOWN, caption_fields, labels_of, noted_of, pseudonym, shown_frames
from mmkd.errors import ConfigError
from mmkd.folders.paths import IMAGE_SUFFIXES, path_inside, read_inside
from mmkd.folders.remote import File, RemoteFile
from mmkd.images.dicom import every, is_dicom
from mmkd.images.encode import png
from mmkd.images.nifti import NIFTI_SUFFIXES, nifti_slices
from mmkd.images.scans import dicom_header, slices_of_folder
from mmkd.reasons import NO_CAPTION, BadRecordError, Reason
from mmkd.tables.guess import guessed
from mmkd.tables.sections import WHOLE_REPORT, chosen_sections
from mmkd.tables.spans import Row
from mmkd.tables.values import as_text, caption_cell, captions_in, is_container, kind_of, matches, told_cell


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


def check_columns(found: Iterable[str], source: RowSource, where: str, advice: str = "") -> None:
    """Raise ConfigError when the table lacks the image or caption column, or one that the settings name. Columns of all
    sections stand for a caption column that the settings do not name; a source that keeps pictures without captions
    needs none.

    `found` is read until all of them are found. advice: what else to do than to name other columns.
    """
    named = [column for field in {*source.columns, "image", "caption"} for column in columns_of(source, field)]
    missing, sections = {*named, *source.include}, set(source.sections)
    if source.keeps_captionless and "caption" not in source.columns:
        missing.discard("caption")
    stand_in = bool(sections) and "caption" not in source.columns
    read = []
    for column in found:
        read.append(column)
        missing.discard(column)
        sections.discard(column)
        if not missing or (stand_in and not sections and missing == {"caption"}):
            return
    advice = (
        f"; the caption may be columns of all sections, too: {', '.join(source.sections)}{advice}"
        if stand_in
        else advice
    )
    raise ConfigError(
        f"{where}: no column {', '.join(map(repr, sorted(missing)))} among {', '.join(read)}; "
        f"name the right ones under columns of source {source.name!r} (our field = table's column){advice}"
    )


def unread_group(found: Sequence[str], source: RowSource) -> str:
    """What a user has to be told of a column that looks like patients or articles and is not read; "" where there is
    none, or the recipe says what groups are."""
    if "group" in {*source.columns, *source.model_fields_set, *found}:
        return ""
    taken = {column for field in source.columns for column in columns_of(source, field)}
    if (column := guessed("group", [], [name for name in found if name not in taken])) is None:
        return ""
    return (
        f"WARNING: source {source.name}: column {column!r} looks like a group (patient, article) and is not read, so "
        f'its rows may be in both splits; set columns = {{ group = "{column}" }}, or group = "" where every picture is '
        "a group of its own"
    )


def wanted_columns(source: RowSource) -> set[str]:
    """The table's columns that are worth reading, if they are there."""
    return {column for field in FIELDS for column in columns_of(source, field)} | {
        *source.include,
        *source.sections,
    }


def columns_of(source: RowSource, field: str) -> list[str]:
    """The table's columns for one of our fields; of several, the first that a row fills counts."""
    named = source.columns.get(field, [] if field in NAMED else field)
    return [named] if isinstance(named, str) else named


def records_of_rows(
    rows: Iterable[tuple[int, Row]], file: str, source: RowSource, images: Images, part: str = ""
) -> Iterator[Found]:
    """The records of numbered rows; rows that `include` does not select are marked.

    part: which of the source's tables this is, in the ids of rows that have none of their own.
    """
    captions = columns_of(source, "caption")
    for number, row in rows:
        where = f"{file}:{number}"
        identity = f"{source.name}{part}_{number:08d}"
        try:
            if isinstance(row, BadRecordError):
                raise row
            if not matches(row, source.include):
                yield Excluded(source.name)
                continue
            field = {name: first_filled(row, columns_of(source, name)) for name in FIELDS}
            field |= {
                name: _meant(row, columns_of(source, name), told_cell) for name in ("group", "modality", "licence")
            }
            field["caption"] = _meant(row, captions, caption_cell)
            identity = _told(field, "id") or identity
            if field["caption"] is None:
                field["caption"] = {name: row[name] for name in source.sections if name in row} or None
            yield from _records(field, identity, where, source, images)
        except BadRecordError as bad:
            yield Rejected(source.name, where, identity, bad.reason, bad.detail)


def _records(
    field: Mapping[str, Any], identity: str, where: str, source: RowSource, images: Images
) -> Iterator[Record | Noted]:
    """One, or one of each caption; those are of one group."""
    captions, whole = _captions(field["caption"], source)
    modality = _told(field, "modality") or source.modality
    told = _told(field, "group")
    for shown in _pictures(field["image"], images, source, modality):
        group = told or shown.patient or group_in(source, *_names(field))
        record = Record(
            id=f"{identity}/{shown.part}" if shown.part else identity,
            image=shown.data,
            caption=captions[0],
            modality=modality or shown.modality,
            group=group or identity,
            licence=_told(field, "licence") or source.licence,
            source=source.name,
            where=f"{where}:{shown.part}" if shown.part else where,
            labels=(*_texts(field["labels"]), *shown.labels, *((WHOLE_REPORT,) if whole else ())),
            mention=" ".join(_texts(field["mention"])),
            captionless=source.keeps_captionless,
            grouped=bool(group),
        )
        yield from each_caption(record, captions)
        yield from (Noted(source.name, what) for what in shown.noted)


def _captions(value: object, source: RowSource) -> tuple[Sequence[str | bytes], bool]:
    """The captions of a row, "" for one without where the source keeps it, and whether a report was taken whole.

    Where the source keeps pictures without captions, elements of a list that give none are left out of it.
    """
    if source.keeps_captionless and isinstance(value, list):
        value = [one for one in value if _gives_caption(one, source)]
    try:
        chosen, whole = chosen_sections(value, source)
        return captions_in(chosen, source.captions), whole
    except BadRecordError as bad:
        if source.keeps_captionless and bad.reason in NO_CAPTION:
            return [""], False
        raise


def _gives_caption(value: object, source: RowSource) -> bool:
    """False for what is missing or blank, and for a report without the sections that are asked for."""
    try:
        chosen, _ = chosen_sections(value, source)
    except BadRecordError as bad:
        return bad.reason not in NO_CAPTION
    if isinstance(chosen, str | bytes):
        return bool(chosen.strip())
    return is_container(chosen) or (chosen is not None and chosen == chosen)  # NaN is unequal


def _told(field: Mapping[str, Any], name: str) -> str:
    """The text of a field of ours. Raises BadRecordError that names it."""
    try:
        return as_text(field[name])
    except BadRecordError as bad:
        raise BadRecordError(bad.reason, f"{name}: {bad.detail}") from None


def _meant(row: Mapping[str, Any], columns: list[str], cell: Callable[[Any], Any]) -> Any:
    """As `first_filled`, of cells as they are meant (`tables.values`): a word for a missing value fills none. An id may
    be such a word."""
    return first_filled({name: cell(row.get(name)) for name in columns}, columns)


def first_filled(row: Mapping[str, Any], columns: list[str]) -> Any:
    values = [row.get(column) for column in columns]
    filled = (value for value in values if value is not None and value == value and value != "")  # NaN is unequal
    return next(filled, values[0] if values else None)


def _texts(value: object) -> tuple[str, ...]:
    """What tables hold of labels and mentions: one text, a list of them, or nothing."""
    return tuple(text for one in (value if isinstance(value, list) else [value]) if (text := as_text(one)))


def names_in(rows: Iterable[tuple[int, Row]], source: RowSource) -> Iterator[str]:
    """What `group` is searched in, row by row."""
    for _, row in rows:
        if isinstance(row, BadRecordError):
            continue
        try:
            yield from _names({name: first_filled(row, columns_of(source, name)) for name in ("image", "id")})
        except BadRecordError:  # it is counted where the rows are read
            continue


def _names(field: Mapping[str, Any]) -> list[str]:
    """What may hold a group's name: the image's path as the table spells it, and the id."""
    image = field["image"].get("path") if isinstance(field["image"], Mapping) else field["image"]
    return [as_text(name) for name in (image, field["id"]) if not isinstance(name, bytes)]


@dataclass(frozen=True)
class Shown:
    """A picture of a row. part: which of several. modality, patient (a digest), labels: as a DICOM header has them.
    noted: of its file, with one of its pictures."""

    data: bytes
    part: str = ""
    modality: str = ""
    patient: str = ""
    labels: tuple[str, ...] = ()
    noted: Sequence[str] = ()


def _pictures(value: object, images: Images, source: RowSource, modality: str) -> Iterator[Shown]:
    """From what tables store: bytes, a path, or `{bytes, path}` as Hugging Face writes it; of scans their slices."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        yield from _shown(value, source)
        return
    if is_container(value):
        raise BadRecordError(
            Reason.UNREADABLE_ROW,
            f"the image is {kind_of(value)} (pixels, or several images), expected bytes, a path or {{bytes, path}}",
        )
    if not (name := as_text(value)):
        raise BadRecordError(Reason.MISSING_FIELD, "the image is empty; expected a path or encoded bytes")
    name = f"{images.before}{name}{images.after}"
    if isinstance(images.folder, RemoteFile):
        if name.lower().endswith(NIFTI_SUFFIXES):
            raise BadRecordError(Reason.OTHER_FILE, f"{name}: NIfTI is not read by URL; download it with its table")
        yield from _shown(images.folder.beside(name), source)
    elif name.lower().endswith(NIFTI_SUFFIXES):
        path = path_inside(images.folder, name, images.root, images.cure)
        for place, picture in nifti_slices(path, source, source.step, modality):
            yield Shown(png(picture, compress_level=1), f"{place:04d}" if source.step else "")
    elif not name.lower().endswith(IMAGE_SUFFIXES) and os.path.isdir(os.path.join(images.folder, name)):
        yield from _slices(name, images.folder, images, source)
    else:
        yield from _shown(read_inside(images.folder, name, images.root, images.cure), source)


def _slices(name: str, folder: Path, images: Images, source: RowSource) -> Iterator[Shown]:
    """Of a folder on disk."""
    ordered = slices_of_folder(Path(path_inside(folder, name, images.root, images.cure)))
    for place, file in every(list(enumerate(ordered)), source.step):
        data = read_inside(folder, f"{name}/{file}", images.root, images.cure)
        for shown in _shown(data, source):
            parts = [f"{place:04d}" if source.step else "", shown.part]
            yield replace(shown, part="/".join(filter(None, parts)))


def _shown(data: bytes, source: RowSource) -> Iterator[Shown]:
    """A picture as it is, or the frames of a DICOM file."""
    if not is_dicom(data):
        yield Shown(data)
        return
    header = dicom_header(io.BytesIO(data), SHOWN)
    patient = f"{source.name}/{pseudonym(owner, source)}" if (owner := header["PatientID"].strip()) else ""
    modality = caption_fields(header).get("modality", "")
    noted = noted_of(header)
    for frame, picture in shown_frames(data, header, source):
        yield Shown(picture, f"{frame:04d}" if frame else "", modality, patient, labels_of(header), noted)
        noted = []
