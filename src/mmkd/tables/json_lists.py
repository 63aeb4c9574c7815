"""JSON files that hold one list of objects. Such a file is parsed as a whole, so it has to fit into memory."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mmkd.errors import DataError
from mmkd.folders.remote import File, opened, stamp_of
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.dialect import UTF8
from mmkd.tables.lines import encoding_of
from mmkd.tables.spans import Row, Span, row_spans
from mmkd.tables.values import distinct_keys, kind_of


def json_columns(path: File) -> Iterator[str]:
    """Every key once, in the order of appearance."""
    yield from dict.fromkeys(key for row in _rows(path) if isinstance(row, dict) for key in row)


def json_spans(path: File) -> list[Span]:
    """Cut by the number of rows."""
    return row_spans(len(_rows(path)))


def json_rows(path: File, span: Span) -> Iterator[tuple[int, Row]]:
    """The numbered rows of a span; values as JSON has them."""
    for number, row in enumerate(_rows(path)[span.begin : span.end], span.first):
        found = f"expected a list of objects, found {type(row).__name__} in it"
        yield number, row if isinstance(row, dict) else BadRecordError(Reason.UNREADABLE_ROW, found)


def _rows(path: File) -> list[Any]:
    return _parsed(path, stamp_of(path))


@lru_cache(maxsize=1)  # the spans of a table are read one after the other
def _parsed(path: File, stamp: str) -> list[Any]:
    try:
        encoding, mark = encoding_of(path)
        with opened(path) as stream:
            text = stream.read()[mark:].decode(encoding, "surrogateescape" if encoding == UTF8 else "strict")
        rows = json.loads(text, object_pairs_hook=distinct_keys)
    except BadRecordError as error:
        raise DataError(f"{path}: not readable as .json ({error.detail}); correct the file") from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: not readable as .json ({error}); correct the path, or replace the file") from error
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of objects, found {_found(rows)}")
    return rows


def _found(value: object) -> str:
    """With the cure."""
    if not isinstance(value, dict):
        return type(value).__name__
    keys = kind_of(value)
    if {"images", "annotations"} <= value.keys():
        return (
            f"{keys}, as COCO has them; join images and annotations by image_id into a table with a row per caption "
            "(columns image and caption)"
        )
    return f"{keys}; write the list of rows alone, or a table with a row per picture and caption"
