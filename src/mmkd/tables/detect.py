"""What a text table's dialect is, read from the file where nobody says: right where that is certain, else refused."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmkd.errors import DataError
from mmkd.folders.remote import File, stamp_of
from mmkd.reasons import BadRecordError
from mmkd.tables.dialect import Declared, Dialect, Quoting
from mmkd.tables.lines import encoding_of, line_end_of
from mmkd.tables.text import csv_records, next_line, opened

DELIMITERS = (",", ";", "\t", "|")
CSV_DELIMITERS = (",", ";")  # whose tables have CSV's quoting; tables with tabs are written either way
SEPARATOR = re.compile(rb'"?sep=([!-~\t ])"?\r?\n')  # by which Excel tells itself the delimiter
CLOSED = re.compile(rb'"(?:[^"]|"")*"')


def dialect_of(path: File, usual: str, declared: Declared, names: Sequence[str] = ()) -> Dialect:
    """usual: the delimiter that goes with the file's suffix. names: the columns of a table without a header.

    Raises DataError that names the setting to give where the file can be read in two ways.
    """
    return _dialect_of(path, usual, declared, tuple(names), stamp_of(path))


@lru_cache(maxsize=64)
def _dialect_of(path: File, usual: str, declared: Declared, names: tuple[str, ...], stamp: str) -> Dialect:
    dialect = _in_lines(path, declared.encoding)
    first = _first_line(path, dialect)
    if (separator := SEPARATOR.fullmatch(first)) is not None:
        with opened(path, dialect) as lines:
            next_line(lines, strict=False)
            dialect = Dialect(separator[1].decode(), "csv", dialect.encoding, dialect.line_end, lines.tell())
        delimiter = declared.delimiter or dialect.delimiter
    else:
        delimiter = declared.delimiter or _delimiter(first, usual, names)
    dialect = Dialect(delimiter, "csv", dialect.encoding, dialect.line_end, dialect.begin)
    quoting = declared.quoting or ("csv" if delimiter in CSV_DELIMITERS else _quoting(path, dialect, names))
    return Dialect(delimiter, quoting, dialect.encoding, dialect.line_end, dialect.begin)


def json_lines_dialect(path: File, declared: Declared) -> Dialect:
    """Of JSON lines, which have an encoding and line ends only."""
    return _in_lines(path, declared.encoding)


def _in_lines(path: File, encoding: str) -> Dialect:
    encoding, mark = encoding_of(path, encoding)
    return Dialect(encoding=encoding, line_end=line_end_of(path, encoding), begin=mark)


def _first_line(path: File, dialect: Dialect) -> bytes:
    with opened(path, dialect) as lines:
        line = next_line(lines, strict=False)
    return line if isinstance(line, bytes) else b""


def _delimiter(first: bytes, usual: str, names: Sequence[str]) -> str:
    """The usual one, unless the first line has none of it but one of another kind."""
    unquoted = re.sub(rb'"[^"]*"', b"", first)
    width = {delimiter: unquoted.count(delimiter.encode()) + 1 for delimiter in (usual, *DELIMITERS)}
    fits = [delimiter for delimiter in width if width[delimiter] == len(names) or (width[delimiter] > 1 and not names)]
    return usual if usual in fits or len(fits) != 1 else fits[0]


@dataclass
class _Literal:
    """Of the lines of a table without CSV quoting: those with another number of fields than the header, and fields that
    begin with a quotation mark: with doubled marks inside, as a CSV writer has them; quoted without
    need; or not closed."""

    lines: int = 0
    ragged: int = 0
    needed: int = 0
    plain: int = 0
    open: int = 0
    quoted_lines: int = 0
    quoted_header: bool = False

    @property
    def quoted(self) -> int:
        return self.needed + self.plain + self.open

    def add(self, line: bytes, delimiter: bytes, width: int) -> None:
        self.lines += 1
        self.ragged += line.count(delimiter) + 1 != width
        if b'"' not in line:
            return
        quoted = [field for field in line.split(delimiter) if field.startswith(b'"')]
        closed = [field for field in quoted if CLOSED.fullmatch(field)]
        needed = sum(b'""' in field[1:-1] for field in closed)
        self.needed += needed
        self.plain += len(closed) - needed
        self.open += len(quoted) - len(closed)
        self.quoted_lines += bool(closed) and len(closed) == len(quoted)


def _quoting(path: File, dialect: Dialect, names: Sequence[str]) -> Quoting:
    found = _read_literally(path, dialect, names)
    if found.quoted_header:
        return "csv"
    if not found.quoted:
        return "none"
    broken, ragged = _read_as_csv(path, dialect, names)
    if _is_literal(found, broken, ragged):
        return "none"
    if _is_csv(found, broken, ragged):
        return "csv"
    raise DataError(
        f"{path}: {found.quoted} fields begin with a quotation mark, and it is not certain whether these are part of "
        f"the text. With CSV quoting {broken + ragged} rows are broken, without {found.ragged} of {found.lines} lines; "
        'set quoting = "none" where quotation marks are part of the text, or quoting = "csv"'
    )


def _is_literal(found: _Literal, broken: int, ragged: int) -> bool:
    """No field is written as a CSV writer must, and CSV quoting breaks rows, or joins lines that are rows as they are,
    or some of the rows have quotation marks that a CSV writer would not have set."""
    if found.needed:
        return False
    if broken or found.open:
        return not found.ragged or bool(broken)
    return not found.ragged and (bool(ragged) or found.quoted_lines < found.lines)


def _is_csv(found: _Literal, broken: int, ragged: int) -> bool:
    """CSV quoting reads every row, and without it rows fall apart, or fields have the doubled marks of a CSV writer."""
    if broken or ragged:
        return False
    return bool(found.ragged) or (bool(found.needed) and not found.plain and not found.open)


def _read_literally(path: File, dialect: Dialect, names: Sequence[str]) -> _Literal:
    found, width, delimiter = _Literal(), len(names), dialect.delimiter.encode()
    with opened(path, dialect) as lines:
        while (line := next_line(lines, strict=False)) is not None:
            text = b"" if isinstance(line, BadRecordError) else line.rstrip(b"\r\n")
            if not text:
                continue
            if width:
                found.add(text, delimiter, width)
            else:
                fields = text.split(delimiter)
                width = len(fields)
                found.quoted_header = all(CLOSED.fullmatch(field) for field in fields)
    return found


def _read_as_csv(path: File, dialect: Dialect, names: Sequence[str]) -> tuple[int, int]:
    """How many records have wrong quotes, and how many another number of fields than the header."""
    broken, ragged, width = 0, 0, len(names)
    with opened(path, dialect) as lines:
        for record in csv_records(lines, dialect, strict=False):
            if isinstance(record, BadRecordError):
                broken += 1
            elif width:
                ragged += len(record) != width
            else:
                width = len(record)
    return broken, ragged
