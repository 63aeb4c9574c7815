"""Tables of any format of `tables.formats`, one or many, with images beside them or inside them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from mmkd.curation.records.record import Found, Shard
from mmkd.curation.settings.curate import TableSource
from mmkd.curation.sources.groups import check_group
from mmkd.curation.sources.rows import Images, check_columns, names_in, records_of_rows, wanted_columns
from mmkd.errors import ConfigError, DataError
from mmkd.folders.digests import file_digest
from mmkd.folders.paths import ROOT_CURE, files_below, fingerprint_of_files, natural_key, stamp_of
from mmkd.tables.dialect import CURE, Dialect
from mmkd.tables.formats import DELIMITERS, SUFFIXES, Format, dialect_of, format_of, is_text
from mmkd.tables.spans import Row, Span

SEARCHED = (".jsonl", ".ndjson", ".parquet")  # in folders, where .json and .arrow are often other things
NO_HEADER = "; if the table begins with a row, name its columns in `header`"


@dataclass(frozen=True)
class TableReader:
    """A table or many; every part is a span of rows of one of them."""

    source: TableSource

    def shards(self) -> list[Shard]:
        folder, names = _tables(self.source)
        shards = [shard for name in names for shard in self._of(folder, name)]
        check_group(self.source, (name for shard in shards[:1] for name in names_in(shard.rows(), self.source)))
        return list(shards)

    def fingerprint(self) -> str:
        """SHA-256 of a single table, names and sizes of many; the images are known by their names in them."""
        if self.source.path.is_file():
            return file_digest(self.source.path)
        return fingerprint_of_files(*_tables(self.source))

    def _of(self, folder: Path, name: str) -> "list[TableShard]":
        path = folder / name
        check_settings(path, self.source)
        dialect = dialect_of(path, self.source.declared, self.source.header)
        table = _format_of(path, self.source, dialect)
        unnamed = path.suffix.lower() in DELIMITERS and not self.source.header
        advice = (NO_HEADER if unnamed else "") + (f"; {dialect}; {CURE}" if unnamed else "")
        check_columns(table.columns(path), self.source, str(path), advice)
        kind = TableShard if self.source.path.is_file() else OneOfManyShard
        return [kind(self.source, span, folder, name, dialect) for span in table.spans(path)]


@dataclass(frozen=True)
class TableShard:
    """Rows of the table `name` below `folder`."""

    source: TableSource
    span: Span
    folder: Path
    name: str
    dialect: Dialect | None = None

    def rows(self) -> Iterator[tuple[int, Row]]:
        path = self.folder / self.name
        return _format_of(path, self.source, self.dialect).rows(path, self.span, wanted_columns(self.source))

    def records(self) -> Iterator[Found]:
        images = _images(self.folder / self.name, self.source)
        return records_of_rows(self.rows(), self.name, self.source, images, self._part())

    def _part(self) -> str:
        return ""


@dataclass(frozen=True)
class OneOfManyShard(TableShard):
    """Rows of one of many tables; another table beside it changes neither its ids nor what was read of it."""

    def fingerprint(self) -> str:
        return stamp_of(self.folder / self.name)

    def _part(self) -> str:
        return f"/{self.name}"


def _tables(source: TableSource) -> tuple[Path, list[str]]:
    """A folder and the tables below it in natural order. Raises DataError when there are none."""
    path = source.path
    if path.is_file():
        return path.parent, [path.name]
    if path.is_dir():
        return path, sorted(files_below(path, SEARCHED), key=natural_key)
    folder = _before_pattern(path)
    found = (Path(name) for name in glob(str(path), recursive=True))
    names = sorted((one.relative_to(folder).as_posix() for one in found if one.is_file()), key=natural_key)
    if not names:
        raise DataError(f"{path}: no such table; correct the path of source {source.name!r}")
    return folder, names


def _before_pattern(path: Path) -> Path:
    """The deepest folder above all that a pattern can match."""
    above = path.parent
    while has_magic(str(above)):
        above = above.parent
    return above


def _images(path: Path, source: TableSource) -> Images:
    """The folder in the template is the recipe's word and may lie anywhere; what the table says stays below it, or
    below `root`."""
    before, _, after = source.images.partition("{}")
    folder, before = os.path.split(before)
    return Images(path.parent / folder, before, after, source.root, ROOT_CURE)


def _format_of(path: Path, source: TableSource, dialect: Dialect | None) -> Format:
    if (found := format_of(path, dialect, source.header)) is None:
        raise ConfigError(_unknown(path))
    return found


def _unknown(path: Path) -> str:
    return f"{path}: a table ends in one of {', '.join(SUFFIXES)}, not in {path.suffix.lower()!r}"


def check_settings(path: Path, source: TableSource) -> None:
    """Raise ConfigError for a table of an unknown kind, and for settings that its kind does not have."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(_unknown(path))
    if source.header and suffix not in DELIMITERS:
        raise ConfigError(
            f"{path}: {suffix} names its columns itself; remove header from source {source.name!r}, or name them "
            "under columns (our field = table's column)"
        )
    if source.declared and not is_text(path):
        raise ConfigError(
            f"{path}: {suffix} has no delimiter, quoting or encoding; remove these from source {source.name!r}"
        )
