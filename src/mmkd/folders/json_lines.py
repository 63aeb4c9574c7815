"""Files of one JSON object a line, which mmkd itself writes."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmkd.errors import DataError
from mmkd.folders.atomic import atomic_file

Row = TypeVar("Row")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """Mappings or dataclasses, the whole file or nothing. Raises ValueError for a number that JSON does not know."""
    with atomic_file(path) as stream:
        for row in rows:
            plain = asdict(row) if is_dataclass(row) and not isinstance(row, type) else row
            stream.write(json.dumps(plain, allow_nan=False).encode() + b"\n")


def read_objects(path: Path, mend: str) -> list[dict[str, Any]]:
    """The objects of a file. Raises DataError for a line that is none, with `mend` as what to do."""
    return _read(path, _an_object, "JSON object", mend)


def read_rows(path: Path, row_class: type[Row], what: str, mend: str) -> list[Row]:
    """Each object as one of `row_class`. Raises DataError for a line that is no `what`, with `mend` as what to do."""
    return _read(path, lambda found: row_class(**found), what, mend)


def _read(path: Path, make: Callable[[Any], Row], what: str, mend: str) -> list[Row]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(make(json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not a {what} ({error}); {mend}") from error
    return rows


def _an_object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"it is a {type(found).__name__}")
    return found
