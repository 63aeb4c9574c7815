"""CSV, TSV and JSON lines as spans of bytes that can be read on their own.

Unless strict, bytes that are not UTF-8 are carried through as surrogates, so that they reject the field's row only.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mmkd.errors import DataError
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.spans import ROWS_PER_SHARD, Row, Span

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 2**22  # of a line; the longest caption that is kept has a hundredth of it, a whole article a tenth
Line = bytes | BadRecordError


def csv_columns(path: Path, delimiter: str, names: Sequence[str] = (), strict: bool = False) -> list[str]:
    """The header: `names` where the table has none of its own. Columns without a name may be several.

    Raises DataError when there is no header, or a name stands twice. strict: see `formats.format_of`.
    """
    if names:
        return list(names)
    with _opened(path) as stream:
        header = next(_csv_records(stream, delimiter, strict), None)
    if header is None or isinstance(header, BadRecordError):
        raise DataError(f"{path}: no header row found; expected column names in the first line")
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise DataError(f"{path}: columns need distinct names, found {', '.join(header)}")
    return header


def csv_spans(path: Path, delimiter: str, names: Sequence[str] = (), strict: bool = False) -> list[Span]:
    """Cut where the CSV reader sees a row end, so that quoted line breaks stay whole; `names` as in `csv_columns`."""
    with _opened(path) as stream:
        records = _csv_records(stream, delimiter, strict)
        if not names:
            next(records, None)
        return _cut(stream, records)


def csv_rows(
    path: Path, span: Span, delimiter: str, names: Sequence[str] = (), strict: bool = False
) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span, column -> text; `names` as in `csv_columns`."""
    header = csv_columns(path, delimiter, names, strict)
    with path.open("rb") as stream:
        stream.seek(span.begin)
        for number, record in enumerate(_csv_records(stream, delimiter, strict, span.end), span.first):
            yield number, record if isinstance(record, BadRecordError) else _csv_row(header, record)


def jsonl_columns(path: Path, strict: bool = False) -> Iterator[str]:
    """Every key once, in the order of appearance. Lazy: a key that only few rows have may come late."""
    known: set[str] = set()
    with _opened(path) as stream:
        for line in _filled_lines(stream, strict):
            row = _json_row(line, strict)
            new = [] if isinstance(row, BadRecordError) else [key for key in row if key not in known]
            known.update(new)
            yield from new


def jsonl_spans(path: Path, strict: bool = False) -> list[Span]:
    """Cut at line ends."""
    with _opened(path) as stream:
        return _cut(stream, _filled_lines(stream, strict))


def jsonl_rows(path: Path, span: Span, strict: bool = False) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span; values as JSON has them."""
    with path.open("rb") as stream:
        stream.seek(span.begin)
        for number, line in enumerate(_filled_lines(stream, strict, span.end), span.first):
            yield number, _json_row(line, strict)


def _opened(path: Path) -> BinaryIO:
    """The file, past its byte order mark."""
    stream = path.open("rb")
    if stream.read(len(BOM)) != BOM:
        stream.seek(0)
    return stream


def _lines(stream: BinaryIO, strict: bool, end: int | None = None) -> Iterator[Line]:
    """One at a time, so that `stream.tell()` stands where the last line ended; `end` is a place in the file.

    Unless strict, no more than MAX_LINE_BYTES of a line that is too long are ever in memory.
    """
    longest = sys.maxsize if strict else MAX_LINE_BYTES
    while (end is None or stream.tell() < end) and (line := stream.readline(longest)):
        yield line if len(line) < longest or line.endswith(b"\n") else _skip_line(stream, len(line))


def _skip_line(stream: BinaryIO, size: int) -> BadRecordError:
    """Go to the end of the line of which `size` bytes were read."""
    while rest := stream.readline(MAX_LINE_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return BadRecordError(Reason.LONG_CAPTION, f"a line of {size:,} bytes, at most {MAX_LINE_BYTES:,} are read")


def _filled_lines(stream: BinaryIO, strict: bool, end: int | None = None) -> Iterator[Line]:
    return (line for line in _lines(stream, strict, end) if isinstance(line, BadRecordError) or line.strip())


def _csv_records(
    stream: BinaryIO, delimiter: str, strict: bool, end: int | None = None
) -> Iterator[list[str] | BadRecordError]:
    # `map`, since a generator would end where a line is refused
    texts = map(partial(_text, strict=strict), _lines(stream, strict, end))
    reader = csv.reader(texts, delimiter=delimiter, strict=strict)
    while True:
        try:
            if record := next(reader):  # a blank line is an empty record
                yield record
        except StopIteration:
            return
        except BadRecordError as bad:
            yield bad
        except csv.Error as error:
            yield BadRecordError(Reason.UNREADABLE_ROW, f"not CSV: {error}")


def _csv_row(header: list[str], record: list[str]) -> Row:
    if len(record) != len(header):
        return BadRecordError(Reason.UNREADABLE_ROW, f"{len(record)} fields found, the header has {len(header)}")
    return dict(zip(header, record, strict=True))


def _text(line: Line, strict: bool) -> str:
    if isinstance(line, BadRecordError):
        raise line
    try:
        return line.decode("utf-8", "strict" if strict else "surrogateescape")
    except UnicodeDecodeError as error:
        raise BadRecordError(Reason.NOT_UTF8, str(error)) from None


def _json_row(line: Line, strict: bool) -> Row:
    try:
        row = json.loads(_text(line, strict))
    except BadRecordError as bad:
        return bad
    except (ValueError, RecursionError) as error:
        return BadRecordError(Reason.UNREADABLE_ROW, f"not JSON: {error}")
    if not isinstance(row, dict):
        return BadRecordError(Reason.UNREADABLE_ROW, f"expected a JSON object, found {type(row).__name__}")
    return row


def _cut(stream: BinaryIO, rows: Iterable[object]) -> list[Span]:
    """Spans of ROWS_PER_SHARD rows, from where the stream stands to the end of what `rows` draws from it."""
    spans, first, begin, number = [], 0, stream.tell(), 0
    for number, _ in enumerate(rows, 1):
        if number - first == ROWS_PER_SHARD:
            spans.append(Span(first, begin, stream.tell()))
            first, begin = number, stream.tell()
    return spans if number == first else [*spans, Span(first, begin, stream.tell())]
