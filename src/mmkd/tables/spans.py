"""Tables in spans of rows that can be read on their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkd.reasons import BadRecordError

ROWS_PER_SHARD = 1024


Row = Mapping[str, Any] | BadRecordError
"""Column -> value, or why the row could not be taken apart."""


@dataclass(frozen=True)
class Span:
    """Rows `first`, `first + 1`, ... of a table: in a text table the bytes begin..end, in Parquet the row
    groups, else the rows."""

    first: int
    begin: int
    end: int


def row_spans(rows: int) -> list[Span]:
    """Of a table whose rows are found by their number."""
    return [Span(i, i, min(i + ROWS_PER_SHARD, rows)) for i in range(0, rows, ROWS_PER_SHARD)]
