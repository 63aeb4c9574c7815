"""A row of a table, its cells by our names, and where it stands, for messages."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.cards.array_images import ArrowImage
from mmkd.cards.layouts import SampleField
from mmkd.errors import DataError
from mmkd.reasons import BadRecordError
from mmkd.tables.values import as_text, is_container, kind_of

BRACES = re.compile(r"\{([^{}]+?)(:stem)?\}")


@dataclass(frozen=True)
class Row:
    """place: of messages (`lung: pairs.csv, row 3`). columns: our field -> column, or template, of fields that the card
    names."""

    values: Mapping[str, Any]
    place: str
    columns: Mapping[SampleField, str] = field(default_factory=dict)

    def has(self, name: SampleField) -> bool:
        """Whether the card names a column for this field of ours, or the table has one of that name."""
        return name in self.columns or name in self.values

    def field(self, name: SampleField) -> str:
        """The text of a field of ours, "" where the cell is empty or missing."""
        column = self.columns.get(name, name)
        if BRACES.search(column):
            return self.filled(column)
        return self.text(column)

    def needed(self, name: SampleField) -> str:
        """As `field`. Raises DataError where the cell is empty or missing."""
        return self.field(name) or self.cell(self.columns.get(name, name))

    def filled(self, template: str) -> str:
        """The template with cells in place of `{column}`, and of `{column:stem}`, which leaves out a file's suffix.

        Raises DataError where a cell is empty or missing.
        """
        return BRACES.sub(lambda found: Path(self.cell(found[1])).stem if found[2] else self.cell(found[1]), template)

    def cell(self, column: str) -> str:
        """The text of a column. Raises DataError where the cell is empty or missing."""
        if text := self.text(column):
            return text
        found = ", ".join(map(str, self.values))
        raise self.error(
            f"column {column!r} " + ("is empty" if column in self.values else f"is missing; found: {found}")
        )

    def text(self, column: str) -> str:
        """The text of a column without blanks around it, "" where the cell is empty or missing."""
        value = self.values.get(column)
        if isinstance(value, ArrowImage) or is_container(value):
            raise self.error(f"column {column!r} holds {_kind(value)}, expected text or a number")
        try:
            return as_text(value).strip()
        except BadRecordError as error:
            raise self.error(
                f"column {column!r} is no UTF-8 ({error.detail}); a text table in another encoding is read with, for "
                "instance, encoding = 'cp1252'"
            ) from error

    def number(self, column: str) -> float:
        """A finite number, NaN where the cell is empty or missing."""
        text = self.text(column)
        try:
            number = float(text) if text else math.nan
        except ValueError:
            number = math.inf
        if math.isinf(number):
            raise self.error(f"column {column!r} holds {text!r}, expected a number or nothing")
        return number

    def error(self, message: str) -> DataError:
        return DataError(f"{self.place}: {message}")


def _kind(value: object) -> str:
    return "an image" if isinstance(value, ArrowImage) else kind_of(value)
