"""The formats of tables, by the suffix of the file: the one place where rows are read, for sources and for cards."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from mmkd.folders.remote import File, RemoteFile
from mmkd.tables import arrow, detect, json_lists, text
from mmkd.tables.dialect import Declared, Dialect
from mmkd.tables.spans import Row, Span


@dataclass(frozen=True)
class Format:
    """How one kind of table is read, in spans of rows or as a whole; rows are numbered from 0.

    `rows` gets the path, a span and the columns that are worth reading, None for all.
    """

    columns: Callable[[File], Iterable[str]]
    spans: Callable[[File], list[Span]]
    rows: Callable[[File, Span, set[str] | None], Iterator[tuple[int, Row]]]

    def all_rows(self, path: File) -> Iterator[tuple[int, Row]]:
        """All rows with all columns."""
        spans = self.spans(path)
        if spans:  # they lie one behind the other
            yield from self.rows(path, Span(spans[0].first, spans[0].begin, spans[-1].end), None)


def _csv(dialect: Dialect, names: Sequence[str], strict: bool) -> Format:
    return Format(
        partial(text.csv_columns, dialect=dialect, names=names, strict=strict),
        partial(text.csv_spans, dialect=dialect, names=names, strict=strict),
        lambda path, span, _: text.csv_rows(path, span, dialect, names, strict),
    )


def _json_lines(dialect: Dialect, strict: bool) -> Format:
    return Format(
        partial(text.jsonl_columns, dialect=dialect, strict=strict),
        partial(text.jsonl_spans, dialect=dialect, strict=strict),
        lambda path, span, _: text.jsonl_rows(path, span, dialect, strict),
    )


DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
JSON_LINES = (".jsonl", ".ndjson")
NAMED_COLUMNS = {
    ".json": Format(
        json_lists.json_columns, json_lists.json_spans, lambda path, span, _: json_lists.json_rows(path, span)
    ),
    ".parquet": Format(arrow.parquet_columns, arrow.parquet_spans, arrow.parquet_rows),
    ".arrow": Format(arrow.arrow_columns, arrow.arrow_spans, arrow.arrow_rows),
}
SUFFIXES = (*DELIMITERS, *JSON_LINES, *NAMED_COLUMNS)


def unknown_table(path: File) -> str:
    """What to say of a table of another kind, and what to do."""
    suffix = path.suffix.lower()
    spreadsheet = f"; save the {suffix} as CSV (UTF-8) in the spreadsheet program" if suffix in SPREADSHEETS else ""
    return f"{path}: a table ends in one of {', '.join(SUFFIXES)}, not in {suffix!r}{spreadsheet}"


def is_text(path: File) -> bool:
    """Whether the suffix is that of a table that has a dialect."""
    return path.suffix.lower() in (*DELIMITERS, *JSON_LINES)


def not_decodable(path: File, declared: Declared, names: Sequence[str] = ()) -> str:
    """What to say of a text table with lines that are not in its encoding, and what to do; "" where there are none. The
    file is read to its end. Raises DataError as `dialect_of`."""
    dialect = dialect_of(path, declared, names)
    if not dialect:
        return ""
    if isinstance(path, RemoteFile):
        bad, count = text.undecodable_lines(path, dialect)
    else:
        bad, count = _undecodable_lines(path, (stat := path.stat()).st_size, stat.st_mtime_ns, dialect)
    if not bad:
        return ""
    cures = [name for name in ("cp1252", "latin-1") if name != dialect.encoding]
    cure = f'set the encoding of the table, such as encoding = "{cures[0]}" (--encoding {cures[0]}), or mend the damage'
    return (
        f"{path}: {bad:,} of {count:,} lines are not {dialect.encoding}, and these rows are left out, which is not "
        f"random: those with letters such as ä or é; {cure}"
    )


@lru_cache(maxsize=1024)
def _undecodable_lines(path: Path, size: int, changed: int, dialect: Dialect) -> tuple[int, int]:
    """Of a file that is as it was (size; changed, in ns) it is read once: several sources may be of one table."""
    return text.undecodable_lines(path, dialect)


def dialect_of(path: File, declared: Declared, names: Sequence[str] = ()) -> Dialect | None:
    """The dialect of a text table, None for other kinds. Raises DataError where it is not certain."""
    suffix = path.suffix.lower()
    if suffix in JSON_LINES:
        return detect.json_lines_dialect(path, declared)
    return detect.dialect_of(path, DELIMITERS[suffix], declared, names) if suffix in DELIMITERS else None


def format_of(
    path: File, dialect: Dialect | None = None, names: Sequence[str] = (), strict: bool = False
) -> Format | None:
    """The format of a table, None for an unknown suffix.

    dialect: of a text table, from `dialect_of`. names: the columns of a text table without a header of its own. strict:
    of text tables, as cards are read: lines of any length, and what is not in the encoding is an error. Sources are
    read leniently: other bytes count where a field is used, and long lines are bad rows.
    """
    if not is_text(path):
        return NAMED_COLUMNS.get(path.suffix.lower())
    dialect = dialect or dialect_of(path, Declared(), names) or Dialect()
    return _csv(dialect, names, strict) if path.suffix.lower() in DELIMITERS else _json_lines(dialect, strict)
