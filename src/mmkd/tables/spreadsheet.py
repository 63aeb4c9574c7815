"""Text in CSV files that a spreadsheet would take for a formula: it is written harmless, and read back as it was.

An apostrophe goes before what begins with one of STARTS, at the beginning of a cell and behind what a program with
other settings takes for the end of one. The reader takes one away there, in files of mmkd only: HEADS tells them.
"""

import csv
import io
import re
from collections.abc import Sequence

STARTS = (
    "=+\\-@\uff1d\uff0b\uff0d\uff20"  # the last four are the same signs in full width, which some editions take, too
)
PLACES = re.compile(rf"(^|[;\t\r\n])(?='*[{STARTS}\t\r\n])")
WRITTEN = re.compile(rf"(^|[;\t\r\n])'(?='*[{STARTS}\t\r\n])")
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
HEADS = (
    ("id", "path", "caption", "modality", "group", "series", "slice"),  # vectors and labels
    ("where", "id", "reason", "detail"),  # what could not be read
    ("rank", "score", "file", "id", "source", "path"),  # hits
)
"""First columns of the CSV files with ids and paths that mmkd writes."""


def harmless(cell: object) -> object:
    """What is written of a cell: text that no spreadsheet runs; numbers and everything else as they are."""
    if not isinstance(cell, str) or NUMBER.fullmatch(cell):
        return cell
    return PLACES.sub(r"\1'", cell)


def original(text: str) -> str:
    """What `harmless` was given."""
    return WRITTEN.sub(r"\1", text)


def is_ours(header: Sequence[str]) -> bool:
    """Whether the file's texts were written by `harmless`."""
    return any(tuple(header[: len(head)]) == head for head in HEADS)


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV, with harmless texts; None is an empty cell, and lines in a text end with a line feed alone."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([harmless(_plain(cell)) for cell in row] for row in rows)
    return stream.getvalue()


def _plain(cell: object) -> object:
    """A lone carriage return is not quoted, and ends a row."""
    if isinstance(cell, str):
        return cell.replace("\r\n", "\n").replace("\r", "\n")
    return "" if cell is None else cell
