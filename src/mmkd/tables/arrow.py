"""Rows of Arrow tables as Python values, and Parquet files in spans of row groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.errors import DataError
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.spans import Row, Span

BATCH_ROWS = 64  # rows taken from Arrow to Python at once: they may hold images


def parquet_columns(path: Path) -> list[str]:
    """The top-level columns."""
    return list(_open_parquet(path).schema_arrow.names)


def parquet_spans(path: Path) -> list[Span]:
    """One span a row group: the smallest part of a Parquet file that can be read on its own."""
    meta = _open_parquet(path).metadata
    spans, first = [], 0
    for group in range(meta.num_row_groups):
        spans.append(Span(first, group, group + 1))
        first += meta.row_group(group).num_rows
    return spans


def parquet_rows(path: Path, span: Span, wanted: set[str]) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span, of the wanted columns those that are there.

    Where the file is damaged, the rest of the span is one unusable row.
    """
    number = span.first
    columns = [name for name in parquet_columns(path) if name in wanted]
    groups = list(range(span.begin, span.end))
    try:
        for batch in _open_parquet(path).iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
            for row in python_rows(batch):
                yield number, row
                number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield number, BadRecordError(Reason.DAMAGED_FILE, f"the row group cannot be read from here on: {error}")


def python_rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Row by row, column -> value; text that is not UTF-8 comes as `surrogateescape` decodes it."""
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        # to_pylist of a string column fails as a whole on the first byte that is not UTF-8
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
    if pa.types.is_struct(kind):
        names = [kind.field(i).name for i in range(kind.num_fields)]
        children = [_values(child) for child in column.flatten()]
        return [dict(zip(names, values, strict=True)) for values in zip(*children, strict=True)]
    values: list[Any] = column.to_pylist()
    return values


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)  # else a row group's column of images is in memory twice
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}); correct the source's path") from error
