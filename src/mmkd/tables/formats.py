"""The formats of tables, by the suffix of the file: the one place where rows are read, for sources and for cards."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmkd.tables import arrow, json_lists, text
from mmkd.tables.spans import Row, Span


@dataclass(frozen=True)
class Format:
    """How one kind of table is read, in spans of rows or as a whole; rows are numbered from 0.

    `rows` gets the path, a span and the columns that are worth reading, None for all.
    """

    columns: Callable[[Path], Iterable[str]]
    spans: Callable[[Path], list[Span]]
    rows: Callable[[Path, Span, set[str] | None], Iterator[tuple[int, Row]]]

    def all_rows(self, path: Path) -> Iterator[tuple[int, Row]]:
        """All rows with all columns."""
        spans = self.spans(path)
        if spans:  # they lie one behind the other
            yield from self.rows(path, Span(spans[0].first, spans[0].begin, spans[-1].end), None)


def _csv(delimiter: str, names: Sequence[str], strict: bool) -> Format:
    return Format(
        partial(text.csv_columns, delimiter=delimiter, names=names, strict=strict),
        partial(text.csv_spans, delimiter=delimiter, names=names, strict=strict),
        lambda path, span, _: text.csv_rows(path, span, delimiter, names, strict),
    )


def _json_lines(strict: bool) -> Format:
    return Format(
        partial(text.jsonl_columns, strict=strict),
        partial(text.jsonl_spans, strict=strict),
        lambda path, span, _: text.jsonl_rows(path, span, strict),
    )


DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
NAMED_COLUMNS = {
    ".json": Format(
        json_lists.json_columns, json_lists.json_spans, lambda path, span, _: json_lists.json_rows(path, span)
    ),
    ".parquet": Format(arrow.parquet_columns, arrow.parquet_spans, arrow.parquet_rows),
    ".arrow": Format(arrow.arrow_columns, arrow.arrow_spans, arrow.arrow_rows),
}
SUFFIXES = (*DELIMITERS, *JSON_LINES, *NAMED_COLUMNS)


def format_of(path: Path, names: Sequence[str] = (), strict: bool = False) -> Format | None:
    """The format of a table, None for an unknown suffix.

    names: the columns of a text table without a header of its own. strict: of text tables, as cards are read: UTF-8,
    quotes that are closed and followed by a delimiter, lines of any length. Sources are read leniently: other bytes
    count where a field is used, and long lines are bad rows.
    """
    suffix = path.suffix.lower()
    if suffix in DELIMITERS:
        return _csv(DELIMITERS[suffix], names, strict)
    return _json_lines(strict) if suffix in JSON_LINES else NAMED_COLUMNS.get(suffix)
