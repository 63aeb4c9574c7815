"""CSV, TSV, JSONL and Parquet tables with images beside them or inside them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmkd.corpus.records import Record, Rejected, Shard
from mmkd.corpus.settings import TableSource
from mmkd.corpus.sources import arrow_rows, text_tables
from mmkd.corpus.sources.files import fingerprint_of_bytes
from mmkd.corpus.sources.rows import Row, Span, check_columns, records_of_rows, wanted_columns
from mmkd.errors import ConfigError, DataError


@dataclass(frozen=True)
class Format:
    """How one kind of table is read. `rows` gets the path, a span and the columns that are worth reading."""

    columns: Callable[[Path], Iterable[str]]
    spans: Callable[[Path], list[Span]]
    rows: Callable[[Path, Span, set[str]], Iterator[tuple[int, Row]]]


def _separated_by(delimiter: str) -> Format:
    return Format(
        partial(text_tables.csv_columns, delimiter=delimiter),
        partial(text_tables.csv_spans, delimiter=delimiter),
        lambda path, span, _: text_tables.csv_rows(path, span, delimiter),
    )


_JSON_LINES = Format(
    text_tables.jsonl_columns, text_tables.jsonl_spans, lambda path, span, _: text_tables.jsonl_rows(path, span)
)
FORMATS = {
    ".csv": _separated_by(","),
    ".tsv": _separated_by("\t"),
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".parquet": Format(arrow_rows.parquet_columns, arrow_rows.parquet_spans, arrow_rows.parquet_rows),
}


@dataclass(frozen=True)
class TableReader:
    """A table; every part is a span of its rows."""

    source: TableSource

    def shards(self) -> list[Shard]:
        path = _table_path(self.source)
        table = _format_of(path)
        check_columns(table.columns(path), self.source, str(path))
        return [TableShard(self.source, span) for span in table.spans(path)]

    def fingerprint(self) -> str:
        """SHA-256 of the table itself; the images are known by their names in it."""
        return fingerprint_of_bytes(_table_path(self.source))


@dataclass(frozen=True)
class TableShard:
    source: TableSource
    span: Span

    def records(self) -> Iterator[Record | Rejected]:
        path = self.source.path
        rows = _format_of(path).rows(path, self.span, wanted_columns(self.source))
        return records_of_rows(rows, path.name, self.source, path.parent)


def _table_path(source: TableSource) -> Path:
    if not source.path.is_file():
        raise DataError(f"{source.path}: no such table; correct the path of source {source.name!r}")
    return source.path


def _format_of(path: Path) -> Format:
    if (suffix := path.suffix.lower()) not in FORMATS:
        raise ConfigError(f"{path}: a table ends in one of {', '.join(FORMATS)}, not in {suffix!r}")
    return FORMATS[suffix]
