"""CSV, TSV and JSONL as spans of bytes that can be read on their own, tolerant of bytes that are not UTF-8.

Bad bytes are carried through as surrogates, so that they reject the field's row and not the file.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mmkd.errors import DataError
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.spans import ROWS_PER_SHARD, Row, Span

BOM = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 2**22  # of a line; the longest caption that is kept has a hundredth of it, a whole article a tenth
Line = bytes | BadRecordError


def csv_columns(path: Path, delimiter: str, names: Sequence[str] = ()) -> list[str]:
    """The header: `names` where the table has none of its own. Raises DataError when there is none."""
    if names:
        return list(names)
    with _opened(path) as stream:
        header = next(_csv_records(stream, delimiter), None)
    if header is None or isinstance(header, BadRecordError):
        raise DataError(f"{path}: no header row found; expected column names in the first line")
    return header


def csv_spans(path: Path, delimiter: str, names: Sequence[str] = ()) -> list[Span]:
    """Cut where the CSV reader sees a row end, so that quoted line breaks stay whole; `names` as in `csv_columns`."""
    with _opened(path) as stream:
        records = _csv_records(stream, delimiter)
        if not names:
            next(records, None)
        return _cut(stream, records)


def csv_rows(path: Path, span: Span, delimiter: str, names: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span, column -> text; `names` as in `csv_columns`."""
    header = csv_columns(path, delimiter, names)
    with path.open("rb") as stream:
        stream.seek(span.begin)
        for number, record in enumerate(_csv_records(stream, delimiter, span.end), span.first):
            yield number, record if isinstance(record, BadRecordError) else _csv_row(header, record)


def jsonl_columns(path: Path) -> Iterator[str]:
    """Every key once, in the order of appearance. Lazy: a key that only few rows have may come late."""
    seen: set[str] = set()
    with _opened(path) as stream:
        for line in _filled_lines(stream):
            row = _json_row(line)
            new = [] if isinstance(row, BadRecordError) else [key for key in row if key not in seen]
            seen.update(new)
            yield from new


def jsonl_spans(path: Path) -> list[Span]:
    """Cut at line ends."""
    with _opened(path) as stream:
        return _cut(stream, _filled_lines(stream))


def jsonl_rows(path: Path, span: Span) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span; values as JSON has them."""
    with path.open("rb") as stream:
        stream.seek(span.begin)
        for number, line in enumerate(_filled_lines(stream, span.end), span.first):
            yield number, _json_row(line)


def _opened(path: Path) -> BinaryIO:
    """The file, past its byte order mark."""
    stream = path.open("rb")
    if stream.read(len(BOM)) != BOM:
        stream.seek(0)
    return stream


def _lines(stream: BinaryIO, end: int | None = None) -> Iterator[Line]:
    """One at a time, so that `stream.tell()` stands where the last line ended; `end` is a place in the file.

    Of a line that is too long no more than MAX_LINE_BYTES are ever in memory.
    """
    while (end is None or stream.tell() < end) and (line := stream.readline(MAX_LINE_BYTES)):
        yield line if len(line) < MAX_LINE_BYTES or line.endswith(b"\n") else _skip_line(stream, len(line))


def _skip_line(stream: BinaryIO, size: int) -> BadRecordError:
    """Go to the end of the line of which `size` bytes were read."""
    while rest := stream.readline(MAX_LINE_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return BadRecordError(Reason.LONG_CAPTION, f"a line of {size:,} bytes, at most {MAX_LINE_BYTES:,} are read")


def _filled_lines(stream: BinaryIO, end: int | None = None) -> Iterator[Line]:
    return (line for line in _lines(stream, end) if isinstance(line, BadRecordError) or line.strip())


def _csv_records(stream: BinaryIO, delimiter: str, end: int | None = None) -> Iterator[list[str] | BadRecordError]:
    # `map`, since a generator would end where a line is refused
    reader = csv.reader(map(_text, _lines(stream, end)), delimiter=delimiter)
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


def _text(line: Line) -> str:
    if isinstance(line, BadRecordError):
        raise line
    return line.decode("utf-8", "surrogateescape")


def _json_row(line: Line) -> Row:
    try:
        row = json.loads(_text(line))
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
