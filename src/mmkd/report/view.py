"""What templates show besides figures: tables, tiles and sections, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    """What stands in a table's cell. kind: a class of the style sheet. small: a second line. link: the text may be a
    web address."""

    text: str
    kind: str = ""
    small: str = ""
    title: str = ""
    link: bool = False


@dataclass(frozen=True)
class Row:
    """Its name stands first. kind: "ours", "null" or "group" (a heading inside the table)."""

    name: str
    cells: Sequence[Cell | str] = ()
    kind: str = ""

    @property
    def styled_cells(self) -> list[Cell]:
        return [cell if isinstance(cell, Cell) else Cell(cell) for cell in self.cells]


@dataclass(frozen=True)
class Table:
    """heads: of all columns, the names' first. text: cells are sentences, not numbers."""

    heads: Sequence[str]
    rows: Sequence[Row]
    caption: str = ""
    text: bool = False


@dataclass(frozen=True)
class Tile:
    """A large number with its name above and lines of small print below."""

    name: str
    value: str
    more: Sequence[str] = ()
    ours: bool = False


@dataclass(frozen=True)
class Section:
    """view: what the macro named `macro` in the page's template shows."""

    anchor: str
    title: str
    view: Any
    macro: str


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> Table:
    """A table of sentences; the first cell of a row names it."""
    return Table(heads, [Row(row[0], row[1:]) for row in rows], caption, text=True)
