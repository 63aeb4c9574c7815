"""CSV, TSV and JSON lines as spans of bytes that can be read on their own, once their dialect is known.

Unless strict, bytes that are not in the encoding are carried through as surrogates, so that they reject the field's row
only.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from mmkd.errors import DataError
from mmkd.folders import remote
from mmkd.folders.remote import File
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.dialect import CURE, NOT_UTF8, Dialect
from mmkd.tables.lines import Lines
from mmkd.tables.spans import ROWS_PER_SHARD, Row, Span
from mmkd.tables.spreadsheet import is_ours, original
from mmkd.tables.values import distinct, distinct_keys

MAX_LINE_BYTES = 2**22  # of a line; the longest caption that is kept has a hundredth of it, a whole article a tenth
Line = bytes | BadRecordError
Record = list[str] | BadRecordError


def undecodable_lines(path: File, dialect: Dialect) -> tuple[int, int]:
    """How many lines are not in the table's encoding, and how many there are; the file is read to its end. Lines that
    are too long to be rows are not decoded: they come in pieces, which may be cut inside a character."""
    bad = count = 0
    with opened(path, dialect) as lines:
        is_rest = False
        while line := lines.readline(MAX_LINE_BYTES):
            is_piece = is_rest or len(line) == MAX_LINE_BYTES
            is_rest = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            count += not is_rest
            try:
                line.decode()
            except UnicodeDecodeError:
                bad += not is_piece
    return bad, count


def csv_columns(path: File, dialect: Dialect, names: Sequence[str] = (), strict: bool = False) -> list[str]:
    """The header: `names` where the table has none of its own. Columns without a name may be several.

    Raises DataError when there is no header, it cannot be decoded, or a name stands twice. strict: see
    `formats.format_of`.
    """
    if names:
        return list(names)
    with opened(path, dialect) as lines:
        header = next(csv_records(lines, dialect, strict), None)
    if header is None or isinstance(header, BadRecordError):
        detail = "" if header is None else f" ({header.detail})"
        raise DataError(f"{path}: no header row found{detail}; expected column names in the first line; {dialect}")
    try:
        "".join(header).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: the header has bytes that are not {dialect.encoding}; {CURE}") from error
    return distinct(path, [name.strip() for name in header])


def csv_spans(path: File, dialect: Dialect, names: Sequence[str] = (), strict: bool = False) -> list[Span]:
    """Cut where the CSV reader sees a row end, so that quoted line breaks stay whole; `names` as in `csv_columns`."""
    with opened(path, dialect) as lines:
        records = csv_records(lines, dialect, strict)
        if not names:
            next(records, None)
        return _cut(lines, records)


def csv_rows(
    path: File, span: Span, dialect: Dialect, names: Sequence[str] = (), strict: bool = False
) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span, column -> text; `names` as in `csv_columns`. Text that mmkd has written so that no
    spreadsheet runs it is as it was."""
    header = csv_columns(path, dialect, names, strict)
    ours = is_ours(header)
    with opened(path, dialect) as lines:
        lines.seek(span.begin)
        for number, record in enumerate(csv_records(lines, dialect, strict, span.end), span.first):
            if ours and not isinstance(record, BadRecordError):
                record = list(map(original, record))
            yield number, record if isinstance(record, BadRecordError) else _csv_row(header, record)


def jsonl_columns(path: File, dialect: Dialect, strict: bool = False) -> Iterator[str]:
    """Every key once, in the order of appearance. Lazy: a key that only few rows have may come late.

    Raises DataError where no row can be read.
    """
    known: set[str] = set()
    bad = ""
    with opened(path, dialect) as lines:
        for line in _filled_lines(lines, strict):
            row = _json_row(line, strict)
            if isinstance(row, BadRecordError):
                bad = bad or row.detail
                continue
            new = [key for key in row if key not in known]
            known.update(new)
            yield from new
    if bad and not known:
        raise DataError(f"{path}: no line can be read; of the first: {bad}")


def jsonl_spans(path: File, dialect: Dialect, strict: bool = False) -> list[Span]:
    """Cut at line ends."""
    with opened(path, dialect) as lines:
        return _cut(lines, _filled_lines(lines, strict))


def jsonl_rows(path: File, span: Span, dialect: Dialect, strict: bool = False) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span; values as JSON has them."""
    with opened(path, dialect) as lines:
        lines.seek(span.begin)
        for number, line in enumerate(_filled_lines(lines, strict, span.end), span.first):
            yield number, _json_row(line, strict)


@contextmanager
def opened(path: File, dialect: Dialect) -> Iterator[Lines]:
    """The file where its first row or header begins."""
    with remote.opened(path) as stream:
        lines = Lines(stream, dialect.encoding, dialect.line_end)
        lines.seek(dialect.begin)
        yield lines


def next_line(lines: Lines, strict: bool, end: int | None = None) -> Line | None:
    """None behind the last; `end` is a place in the file.

    Unless strict, no more than MAX_LINE_BYTES of a line that is too long are ever in memory.
    """
    longest = sys.maxsize if strict else MAX_LINE_BYTES
    if end is not None and lines.tell() >= end:
        return None
    if not (line := lines.readline(longest)):
        return None
    return line if len(line) < longest or line.endswith(b"\n") else _skip_line(lines, len(line))


def _skip_line(lines: Lines, size: int) -> BadRecordError:
    """Go to the end of the line of which `size` bytes were read."""
    while rest := lines.readline(MAX_LINE_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return BadRecordError(Reason.LONG_CAPTION, f"a line of {size:,} bytes, at most {MAX_LINE_BYTES:,} are read")


def _filled_lines(lines: Lines, strict: bool, end: int | None = None) -> Iterator[Line]:
    while (line := next_line(lines, strict, end)) is not None:
        if isinstance(line, BadRecordError) or line.strip():
            yield line


class _Texts:
    """Lines as text for the CSV reader. An iterator that goes on where a line was refused, as a generator cannot.

    first_end: where the first line of the present record ends.
    """

    def __init__(self, lines: Lines, strict: bool, end: int | None) -> None:
        self.lines, self.strict, self.end = lines, strict, end
        self.first_end: int | None = None

    def __iter__(self) -> "_Texts":
        return self

    def __next__(self) -> str:
        if (line := next_line(self.lines, self.strict, self.end)) is None:
            raise StopIteration
        self.first_end = self.lines.tell() if self.first_end is None else self.first_end
        return _text(line, self.strict)


def csv_records(lines: Lines, dialect: Dialect, strict: bool, end: int | None = None) -> Iterator[Record]:
    """The fields of each record. A record whose quotes are wrong costs its first line only, and the next line begins
    another: one quotation mark too many must not swallow the rows up to the next."""
    texts = _Texts(lines, strict, end)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoting == "csv" else csv.QUOTE_NONE
    reader = csv.reader(texts, delimiter=dialect.delimiter, quoting=quoting, strict=True)
    while True:
        texts.first_end = None
        try:
            if record := next(reader):  # a blank line is an empty record
                yield record
        except StopIteration:
            return
        except BadRecordError as bad:
            yield bad
        except csv.Error as error:
            if texts.first_end is not None:
                lines.seek(texts.first_end)
            yield BadRecordError(Reason.UNREADABLE_ROW, f"not CSV: {error}; {dialect}")


def _csv_row(header: list[str], record: list[str]) -> Row:
    if len(record) != len(header):
        return BadRecordError(Reason.UNREADABLE_ROW, f"{len(record)} fields found, the header has {len(header)}")
    return dict(zip(header, record, strict=True))


def _text(line: Line, strict: bool) -> str:
    if isinstance(line, BadRecordError):
        raise line
    try:
        return line.decode("utf-8", "strict" if strict else "surrogateescape")
    except UnicodeDecodeError:
        raise BadRecordError(Reason.NOT_UTF8, NOT_UTF8) from None


def _json_row(line: Line, strict: bool) -> Row:
    try:
        row = json.loads(_text(line, strict), object_pairs_hook=distinct_keys)
    except BadRecordError as bad:
        return bad
    except (ValueError, RecursionError) as error:
        return BadRecordError(Reason.UNREADABLE_ROW, f"not JSON: {error}")
    if not isinstance(row, dict):
        return BadRecordError(Reason.UNREADABLE_ROW, f"expected a JSON object, found {type(row).__name__}")
    return row


def _cut(lines: Lines, rows: Iterable[object]) -> list[Span]:
    """Spans of ROWS_PER_SHARD rows, from where the file stands to the end of what `rows` draws from it."""
    spans, first, begin, number = [], 0, lines.tell(), 0
    for number, _ in enumerate(rows, 1):
        if number - first == ROWS_PER_SHARD:
            spans.append(Span(first, begin, lines.tell()))
            first, begin = number, lines.tell()
    return spans if number == first else [*spans, Span(first, begin, lines.tell())]
