"""The pictures of tables, of Arrow folders such as a corpus, and of what their rows name."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mmkd.curation.records.record import Rejected
from mmkd.curation.sources.rows import first_filled
from mmkd.errors import ConfigError, DataError
from mmkd.folders.paths import IMAGE_SUFFIXES, no_such_file, path_inside
from mmkd.images.dicom import every
from mmkd.images.scans import slices_of_folder
from mmkd.inference.file_pictures import ROOT_CURE, pictures_of_bytes, pictures_of_file, rejected
from mmkd.inference.picture import Facts, Found, SourceOptions
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.formats import Format, dialect_of, format_of, unknown_table
from mmkd.tables.guess import guessed, guessed_template
from mmkd.tables.spans import Row
from mmkd.tables.values import as_text, is_container, kind_of

LOOKED_AT = 50  # rows by which the columns are guessed
FIELDS = ("image", "caption", "group", "modality")
SAVED = ("state.json", "dataset_dict.json")  # files by which folders of `datasets.save_to_disk` are known


@dataclass(frozen=True)
class Columns:
    """Ours -> the table's column. template: `{}` stands for the image column's value."""

    of: Mapping[str, str]
    template: str = "{}"


def pictures_of_table(path: Path, name: str, options: SourceOptions) -> Iterator[Found]:
    """A row after the other. name: in ids and paths of rows whose picture is in the table itself.

    Raises ConfigError where the table has no column of pictures, DataError where it is damaged.
    """
    table = table_format(path, options)
    columns = _columns(path, table, options)
    wanted = {*columns.of.values(), "id"}
    for span in table.spans(path):
        for number, row in table.rows(path, span, wanted):
            yield from _of_row(row, f"{name}:{number}", path.parent, columns, options)


def table_format(path: Path, options: SourceOptions) -> Format:
    """Raises ConfigError for a file that is none."""
    if (found := format_of(path, dialect_of(path, options.declared))) is None:
        raise ConfigError(unknown_table(path))
    return found


def pictures_of_saved(folder: Path, options: SourceOptions) -> Iterator[Found]:
    """An mmkd corpus, or what `datasets.save_to_disk` wrote. Raises DataError where it is damaged."""
    try:
        if (folder / SAVED[1]).is_file():
            for split in json.loads((folder / SAVED[1]).read_text())["splits"]:
                yield from pictures_of_saved(folder / split, options)
            return
        files = [one["filename"] for one in json.loads((folder / SAVED[0]).read_text())["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a readable data set folder ({error}); make it again") from error
    for file in files:
        yield from pictures_of_table(folder / os.path.basename(file), os.path.basename(file), options)


def _columns(path: Path, table: Format, options: SourceOptions) -> Columns:
    read = (row for span in table.spans(path) for _, row in table.rows(path, span, None))
    first = list(islice(read, LOOKED_AT))
    rows = [row for row in first if isinstance(row, Mapping)]
    names = list(table.columns(path))
    told = {"image": options.image, "caption": options.caption}
    if unknown := [f"--{field} {column}" for field, column in told.items() if column and column not in names]:
        raise ConfigError(f"{path}: {' and '.join(unknown)}: no such column among {', '.join(names)}")
    found: dict[str, str] = {}
    for field in FIELDS:
        column = told.get(field) or guessed(field, rows, [name for name in names if name not in found.values()])
        if column is not None:
            found[field] = column
    if "image" not in found:
        raise ConfigError(f"{path}: no column looks like pictures among {', '.join(names)}; name it: --image COLUMN")
    return Columns(found, _template(path.parent, [row.get(found["image"]) for row in rows]))


def _template(folder: Path, values: Sequence[Any]) -> str:
    named = [value for value in values if isinstance(value, str) and value]
    if not named or os.path.exists(os.path.join(folder, named[0])):
        return "{}"
    return guessed_template(folder, named[0]) or "{}"


def _of_row(row: Row, where: str, folder: Path, columns: Columns, options: SourceOptions) -> Iterator[Found]:
    try:
        if isinstance(row, BadRecordError):
            raise row
        told = {field: _text(row.get(column)) for field, column in columns.of.items() if field != "image"}
        value, identity = row.get(columns.of["image"]), as_text(first_filled(row, ["id"]))
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes) and value:
            facts = Facts(identity or where, where, **told)
            yield from pictures_of_bytes(value, facts, options, options.step or 0)
            return
        if is_container(value):
            found = f"the image is {kind_of(value)}, expected bytes, a path or {{bytes, path}}"
            raise BadRecordError(Reason.UNREADABLE_ROW, found)
        if not (text := as_text(value)):
            raise BadRecordError(Reason.MISSING_FIELD, "the image is empty; expected a path or encoded bytes")
        name = columns.template.replace("{}", text)
        yield from _named(folder, name, Facts(identity or text, name, **told), options)
    except BadRecordError as bad:
        yield Rejected("", where, "", bad.reason, bad.detail)


def _text(value: object) -> str:
    """Of several texts the first."""
    return as_text(value[0] if isinstance(value, list) and value else None if isinstance(value, list) else value)


def _named(folder: Path, name: str, facts: Facts, options: SourceOptions) -> Iterator[Found]:
    """What a cell names: a file, or a folder with the slices of one series."""
    step = options.step or 0
    try:
        path = path_inside(folder, name, options.root, ROOT_CURE)
        if not name.lower().endswith(IMAGE_SUFFIXES) and os.path.isdir(path):
            for place, file in every(list(enumerate(slices_of_folder(Path(path)))), step):
                one = Facts(f"{facts.id}/{place:04d}" if step else facts.id, f"{name}/{file}", *_rest(facts))
                yield from pictures_of_file(folder, f"{name}/{file}", one, options, step)
        elif not os.path.exists(path):
            raise BadRecordError(Reason.MISSING_FILE, no_such_file(folder, name))
        else:
            yield from pictures_of_file(folder, name, facts, options, step)
    except BadRecordError as bad:
        yield rejected(facts, bad)


def _rest(facts: Facts) -> tuple[str, str, str]:
    return facts.caption, facts.modality, facts.group
