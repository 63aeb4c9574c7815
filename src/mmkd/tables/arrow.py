"""Parquet files in spans of row groups, Arrow files in spans of rows, and rows of both as Python values."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.errors import DataError
from mmkd.folders.remote import File, RemoteFile, opened, stamp_of
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.spans import Row, Span, row_spans
from mmkd.tables.values import distinct

ARROW_MAGIC = b"ARROW1"  # with which a file begins, and no stream
DAMAGE = (pa.ArrowException, OSError, ValueError)
BATCH_ROWS = 64  # rows taken from Arrow to Python at once: they may hold images


def parquet_columns(path: File) -> list[str]:
    """The top-level columns."""
    with _opened_parquet(path) as table:
        return distinct(path, table.schema_arrow.names)


def parquet_spans(path: File) -> list[Span]:
    """One span a row group: the smallest part of a Parquet file that can be read on its own."""
    with _opened_parquet(path) as table:
        meta = table.metadata
    spans, first = [], 0
    for group in range(meta.num_row_groups):
        spans.append(Span(first, group, group + 1))
        first += meta.row_group(group).num_rows
    return spans


def parquet_rows(path: File, span: Span, wanted: set[str] | None) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span, of the wanted columns (None: all) those that are there.

    Where the file is damaged, the rest of the span is one unusable row.
    """
    columns = [name for name in parquet_columns(path) if wanted is None or name in wanted]
    groups = list(range(span.begin, span.end))
    with _opened_parquet(path) as table:
        batches = partial(table.iter_batches, BATCH_ROWS, row_groups=groups, columns=columns)
        yield from _numbered(batches, span.first)


def _numbered(batches: Callable[[], Iterable[pa.RecordBatch]], number: int) -> Iterator[tuple[int, Row]]:
    try:
        for batch in batches():
            for row in python_rows(batch):
                yield number, row
                number += 1
    except (*DAMAGE, OverflowError) as error:  # a date may lie beyond what Python has
        yield number, BadRecordError(Reason.DAMAGED_FILE, f"cannot be read from here on: {error}")


def arrow_columns(path: File) -> list[str]:
    """The top-level columns of an Arrow file or stream."""
    return distinct(path, arrow_table(path).column_names)


def arrow_spans(path: File) -> list[Span]:
    """Cut by the number of rows."""
    return row_spans(arrow_table(path).num_rows)


def arrow_rows(path: File, span: Span, wanted: set[str] | None) -> Iterator[tuple[int, Row]]:
    """As `parquet_rows`."""
    columns = [name for name in arrow_columns(path) if wanted is None or name in wanted]
    table = arrow_table(path).slice(span.begin, span.end - span.begin).select(columns)
    return _numbered(partial(table.to_batches, BATCH_ROWS), span.first)


def arrow_table(path: File) -> pa.Table:
    """An Arrow file or stream, checked: memory-mapped, a remote one in memory. Raises DataError."""
    return _arrow_table(path, stamp_of(path))


@lru_cache(maxsize=8)
def _arrow_table(path: File, stamp: str) -> pa.Table:
    try:
        with ExitStack() as stack:
            if isinstance(path, RemoteFile):
                source = pa.PythonFile(stack.enter_context(opened(path)), "r")
            else:
                source = stack.enter_context(pa.memory_map(str(path)))
            is_file = source.read(len(ARROW_MAGIC)) == ARROW_MAGIC
            source.seek(0)
            table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source).read_all()
        check_places(table)
    except DAMAGE as error:
        raise DataError(f"{path}: not readable as .arrow ({error}); correct the path, or replace the file") from error
    return table


def check_places(table: pa.Table) -> None:
    """Raises pa.ArrowInvalid where a value would be read from outside of the file, as damaged tables have it.

    Arrow itself does not look. Texts may be anything: they are judged row by row.
    """
    for column in table.columns:
        for chunk in column.chunks:
            _without_texts(chunk).validate(full=True)


def _without_texts(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return pa.DictionaryArray.from_arrays(array.indices, _without_texts(array.dictionary))
    return array.view(_without_text(array.type))


def _without_text(kind: pa.DataType) -> pa.DataType:
    """The type with bytes in place of texts."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_without_text(field.type)) for field in kind.fields])
    if pa.types.is_list(kind):
        return pa.list_(_without_text(kind.value_type))
    return {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}.get(kind, kind)


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
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inside = iter(_values(column.flatten()))
        lengths = column.value_lengths().to_pylist()
        return [None if length is None else list(islice(inside, length)) for length in lengths]
    values: list[Any] = column.to_pylist()
    return values


@contextmanager
def _opened_parquet(path: File) -> Iterator[pq.ParquetFile]:
    with ExitStack() as stack:
        try:
            if isinstance(path, RemoteFile):
                table = pq.ParquetFile(stack.enter_context(opened(path)))
            else:
                table = pq.ParquetFile(path, memory_map=True)  # else a row group's column of images is in memory twice
        except DAMAGE as error:
            raise DataError(
                f"{path}: not readable as .parquet ({error}); correct the path, or replace the file"
            ) from error
        yield table
