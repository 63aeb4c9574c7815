"""Files of one JSON object a line: written whole, read with the line that is wrong named."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mmkd.errors import DataError
from mmkd.folders.json_lines import read_objects, read_rows, write_json_lines


@dataclass(frozen=True)
class Row:
    name: str
    value: float


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [Row("ä", 0.1), Row("b", 2.0)]
    write_json_lines(tmp_path / "rows", rows)
    assert read_rows(tmp_path / "rows", Row, "row", "") == rows
    assert read_objects(tmp_path / "rows", "") == [vars(row) for row in rows]
    write_json_lines(tmp_path / "objects", [{"a": [1]}])
    assert (tmp_path / "objects").read_bytes() == b'{"a": [1]}\n'


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"name": "a"}', '{"name": "a", "value": 1, "more": 2}'])
def test_a_line_that_is_no_row_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text('{"name": "a", "value": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=r"rows, line 2: not a row .*; make it anew"):
        read_rows(tmp_path / "rows", Row, "row", "make it anew")


def test_a_line_that_is_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("[1]\n")
    with pytest.raises(DataError, match=r"rows, line 1: not a JSON object \(it is a list\); make it anew"):
        read_objects(tmp_path / "rows", "make it anew")


def test_what_json_does_not_know_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "rows", [Row("a", 1.0)])
    with pytest.raises(ValueError, match="JSON"):
        write_json_lines(tmp_path / "rows", [Row("b", float("nan"))])
    assert read_rows(tmp_path / "rows", Row, "row", "") == [Row("a", 1.0)]
