"""Texts in CSV files: no spreadsheet runs them, and mmkd reads them back as they were."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.tables.dialect import Declared
from mmkd.tables.formats import dialect_of, format_of
from mmkd.tables.spreadsheet import HEADS, csv_text, harmless, original

PRINTED = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
HOSTILE = st.text("=+-@'\uff1d;\t\n\r, a1\"", max_size=12)
STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@given(PRINTED | HOSTILE)
def test_a_text_is_read_back_as_it_was(text: str) -> None:
    assert original(str(harmless(text))) == text


@given(PRINTED | HOSTILE)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    """Whether the program parts cells at commas, semicolons or tabs; but for numbers, which are none."""
    for delimiter in (",", ";", "\t"):
        line = str(harmless(text))
        for cell in line.split(delimiter) if delimiter != "," else [line]:
            assert not cell.startswith(STARTS) or is_number(cell)


def is_number(text: str) -> bool:
    try:
        return bool(float(text)) or True
    except ValueError:
        return False


@pytest.mark.parametrize("text", ["-1", "+2.5", "-1e-3", "7"])
def test_numbers_stay(text: str) -> None:
    assert harmless(text) == text
    assert harmless(-1.5) == -1.5


@pytest.mark.parametrize("text", ["-inf", "+nan", "-1+1", "=1", "-\u0661", "+1_000", "@SUM(A1)"])
def test_what_only_python_takes_for_a_number_does_not(text: str) -> None:
    assert harmless(text) == f"'{text}"


@given(st.sampled_from(HEADS), st.lists(PRINTED.filter(lambda text: "\r" not in text), min_size=2, max_size=2))
def test_our_files_are_read_back_and_others_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, head: tuple[str, ...], cells: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table.csv"
    row = [*cells, *[""] * (len(head) - 2)]
    path.write_text(csv_text([head, row]), encoding="utf-8", newline="")
    assert rows_of(path) == [dict(zip(head, row, strict=True))]
    path.write_text(csv_text([("file", "text"), cells]), encoding="utf-8", newline="")
    as_written = list(csv.reader(io.StringIO(csv_text([cells]), newline="")))
    assert [list(found.values()) for found in rows_of(path)] == as_written


def rows_of(path: Path) -> list[dict[str, str]]:
    table = format_of(path, dialect_of(path, Declared()))
    assert table is not None
    return [dict(row) for _, row in table.all_rows(path)]  # type: ignore[arg-type]
