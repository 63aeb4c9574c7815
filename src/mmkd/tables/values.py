"""Cells of tables as text."""

from collections.abc import Mapping
from typing import Any

from mmkd.reasons import BadRecordError, Reason


def as_text(value: object) -> str:
    """A field as text, "" for a missing one (None or NaN). Raises BadRecordError when it is not UTF-8 or too nested.

    Text that was decoded with `surrogateescape` counts as not UTF-8 where it holds escaped bytes.
    """
    if value is None or value != value:  # NaN is how tables made by pandas spell a missing field
        return ""
    try:
        if isinstance(value, bytes):
            return value.decode()
        text = str(value)
        text.encode()
    except UnicodeError as error:
        raise BadRecordError(Reason.NOT_UTF8, str(error)) from None
    except RecursionError as error:
        raise BadRecordError(Reason.UNREADABLE_ROW, f"a value nested too deeply: {error}") from None
    return text


def matches(row: Mapping[str, Any], include: Mapping[str, list[str]]) -> bool:
    """Whether every column named in `include` has an accepted value; of a list of values, one accepted is enough."""
    return all(_accepted(row.get(column), values) for column, values in include.items())


def _accepted(value: object, values: list[str]) -> bool:
    try:
        return any(str(v) in values for v in value) if isinstance(value, list) else str(value) in values
    except RecursionError:  # nested too deeply to be written, so not what anybody accepts
        return False
