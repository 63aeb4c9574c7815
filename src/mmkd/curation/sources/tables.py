"""Tables of any format of `tables.formats`, one or many, with images beside them or inside them."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

from mmkd.curation.records.record import Found, Shard, check_group
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.rows import Images, check_columns, names_in, records_of_rows, unread_group, wanted_columns
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import file_digest
from mmkd.folders.paths import ROOT_CURE, files_below, natural_key
from mmkd.folders.regular import irregular
from mmkd.folders.remote import File, NamedFiles, Urls, fingerprint_of, stamp_of
from mmkd.tables.dialect import CURE, Dialect
from mmkd.tables.formats import (
    DELIMITERS,
    JSON_LINES,
    SUFFIXES,
    Format,
    dialect_of,
    format_of,
    is_text,
    not_decodable,
    unknown_table,
)
from mmkd.tables.spans import Row, Span

SEARCHED = (".jsonl", ".ndjson", ".parquet")  # in folders, where .json and .arrow are often other things
FIRST = 50  # rows of JSON lines whose keys are looked at
NO_HEADER = "; if the table begins with a row, name its columns in `header`"


@dataclass(frozen=True)
class TableReader:
    """A table or many; every part is a span of rows of one of them."""

    source: TableSource

    def shards(self) -> list[Shard]:
        shards = [shard for name, file in _tables(self.source) for shard in self._of(name, file)]
        check_group(self.source, (name for shard in shards[:1] for name in names_in(shard.rows(), self.source)))
        return list(shards)

    def warnings(self, thorough: bool) -> list[str]:
        """Of the first table; thorough: of the bytes of all that are on disk, which are read to their end."""
        tables = _tables(self.source)
        local = [path for _, path in tables if isinstance(path, Path) and is_text(path)] if thorough else []
        found = [not_decodable(path, self.source.declared, self.source.header) for path in local]
        return [f"WARNING: source {self.source.name}: {one}" for one in found if one] + self._unread(tables[0][1])

    def _unread(self, path: File) -> list[str]:
        check_settings(path, self.source)
        dialect = dialect_of(path, self.source.declared, self.source.header)
        return list(filter(None, [unread_group(_first_columns(path, self.source, dialect), self.source)]))

    def fingerprint(self) -> str:
        """SHA-256 of a single table, names and sizes of many; the images are known by their names in them."""
        if isinstance(self.source.path, Path) and self.source.path.is_file():
            return file_digest(self.source.path)
        return fingerprint_of(_tables(self.source))

    def _of(self, name: str, path: File) -> "list[TableShard]":
        check_settings(path, self.source)
        dialect = dialect_of(path, self.source.declared, self.source.header)
        table = _format_of(path, self.source, dialect)
        unnamed = path.suffix.lower() in DELIMITERS and not self.source.header
        advice = (NO_HEADER if unnamed else "") + (f"; {dialect}; {CURE}" if unnamed else "")
        check_columns(table.columns(path), self.source, str(path), advice)
        kind = TableShard if _is_one(self.source) else OneOfManyShard
        return [kind(self.source, span, path, name, dialect) for span in table.spans(path)]


@dataclass(frozen=True)
class TableShard:
    """Rows of a table; `name` is its path below the source."""

    source: TableSource
    span: Span
    file: File
    name: str
    dialect: Dialect | None = None

    def rows(self) -> Iterator[tuple[int, Row]]:
        table = _format_of(self.file, self.source, self.dialect)
        return table.rows(self.file, self.span, wanted_columns(self.source))

    def records(self) -> Iterator[Found]:
        images = _images(self.file, self.source)
        return records_of_rows(self.rows(), self.name, self.source, images, self._part())

    def _part(self) -> str:
        return ""


@dataclass(frozen=True)
class OneOfManyShard(TableShard):
    """Rows of one of many tables; another table beside it changes neither its ids nor what was read of it."""

    def fingerprint(self) -> str:
        return stamp_of(self.file)

    def _part(self) -> str:
        return f"/{self.name}"


def _is_one(source: TableSource) -> bool:
    """Whether the path names a table, and neither a folder nor a pattern."""
    return source.path.is_file(SUFFIXES) if isinstance(source.path, Urls) else source.path.is_file()


def _tables(source: TableSource) -> NamedFiles:
    """The tables in natural order. Raises DataError when there are none."""
    path = source.path
    if isinstance(path, Urls):
        return sorted(path.files(SUFFIXES, SEARCHED), key=lambda one: natural_key(one[0]))
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        return _regular(path, files_below(path, SEARCHED))
    folder = _before_pattern(path)
    found = (Path(name) for name in glob(str(path), recursive=True))
    names = [one.relative_to(folder).as_posix() for one in found if not one.is_dir()]
    if not names or irregular(path):
        raise DataError(f"{path}: {irregular(path) or 'no such table'}; correct the path of source {source.name!r}")
    return _regular(folder, names)


def _regular(folder: Path, names: Iterable[str]) -> NamedFiles:
    """In natural order. Raises DataError for a pipe or a device: libraries that open tables by path would wait."""
    found: NamedFiles = []
    for name in sorted(names, key=natural_key):
        path = folder / name
        if kind := irregular(path):
            raise DataError(f"{path}: {kind}; take it out of the folder, or name the tables by a pattern without it")
        found.append((name, path))
    return found


def _before_pattern(path: Path) -> Path:
    """The deepest folder above all that a pattern can match."""
    above = path.parent
    while has_magic(str(above)):
        above = above.parent
    return above


def _images(path: File, source: TableSource) -> Images:
    """The folder in the template is the recipe's word and may lie anywhere; what the table says stays below it, or
    below `root`. Images of a remote table are on disk where the recipe has an absolute folder or `root`."""
    before, _, after = source.images.partition("{}")
    folder, name = os.path.split(before)
    if isinstance(path, Path):
        return Images(path.parent / folder, name, after, source.root, ROOT_CURE)
    if source.root is None and not os.path.isabs(folder):
        return Images(path, before, after)
    return Images((source.root or Path()) / folder, name, after, source.root, ROOT_CURE)


def _first_columns(path: File, source: TableSource, dialect: Dialect | None) -> list[str]:
    """Of JSON lines the keys of the first rows: those of all rows are in no one place."""
    table = _format_of(path, source, dialect)
    if path.suffix.lower() not in JSON_LINES:
        return list(table.columns(path))
    rows = table.rows(path, Span(0, dialect.begin if dialect else 0, sys.maxsize), None)
    return list(dict.fromkeys(name for _, row in islice(rows, FIRST) if isinstance(row, Mapping) for name in row))


def _format_of(path: File, source: TableSource, dialect: Dialect | None) -> Format:
    if (found := format_of(path, dialect, source.header)) is None:
        raise ConfigError(unknown_table(path))
    return found


def check_settings(path: File, source: TableSource) -> None:
    """Raise ConfigError for a table of an unknown kind, and for settings that its kind does not have."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(unknown_table(path))
    if source.header and suffix not in DELIMITERS:
        raise ConfigError(
            f"{path}: {suffix} names its columns itself; remove header from source {source.name!r}, or name them "
            "under columns (our field = table's column)"
        )
    if source.declared and not is_text(path):
        raise ConfigError(
            f"{path}: {suffix} has no delimiter, quoting or encoding; remove these from source {source.name!r}"
        )
