"""Arrow and Parquet tables whose values lie where they cannot, or are what Python has not."""

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.errors import DataError
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.formats import format_of
from mmkd.tables.spans import Row


def rows(path: Path) -> list[tuple[int, Row]]:
    table = format_of(path)
    assert table is not None
    return list(table.all_rows(path))


def written(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


def changed(path: Path, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    before, after = (struct.pack(f"<{len(numbers)}i", *numbers) for numbers in (old, new))
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


@pytest.mark.parametrize("offsets", [(0, 2**30, 2**30 + 1, 2**30 + 2), (0, -5, 7, 12), (0, 9, 7, 12)])
@pytest.mark.parametrize("inside", [False, True])
def test_values_outside_of_the_file_are_not_read(offsets: tuple[int, ...], inside: bool, tmp_path: Path) -> None:
    texts = pa.array(["abc", "defg", "hijkl"])
    column = pa.StructArray.from_arrays([texts], ["path"]) if inside else texts
    path = written(tmp_path / "t.arrow", pa.table({"image": column}))
    assert [row["image"] for _, row in rows(path)] == column.to_pylist()
    changed(path, (0, 3, 7, 12), offsets)
    with pytest.raises(DataError, match=r"t\.arrow: not readable as \.arrow"):
        rows(path)


def test_numbers_of_texts_outside_of_their_list_are_not_read(tmp_path: Path) -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, 0], pa.int32()), pa.array(["a", "b"]))
    path = written(tmp_path / "t.arrow", pa.table({"caption": coded}))
    changed(path, (0, 1, 1, 0), (0, 7, -1, 0))
    with pytest.raises(DataError, match="not readable"):
        rows(path)


def other_bytes(kind: pa.DataType) -> pa.Array:
    raw = pa.array([[b"\xff", b"a"], None, []], pa.list_(pa.binary()))
    return raw.view(pa.list_(pa.string())) if pa.types.is_list(kind) else raw.flatten().view(pa.string())


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_texts_in_lists_that_are_not_utf8_cost_nobody_else(suffix: str, tmp_path: Path) -> None:
    table = pa.table({"labels": other_bytes(pa.list_(pa.string()))})
    assert rows(written(tmp_path / f"t{suffix}", table)) == [
        (0, {"labels": ["\udcff", "a"]}),
        (1, {"labels": None}),
        (2, {"labels": []}),
    ]


@pytest.mark.parametrize("suffix", [".arrow", ".parquet"])
def test_dates_beyond_those_of_python_are_damage(suffix: str, tmp_path: Path) -> None:
    table = pa.table({"date": pa.array([0, 2**62], pa.timestamp("us"))})
    found: Any = rows(written(tmp_path / f"t{suffix}", table))
    assert isinstance(found[-1][1], BadRecordError)
    assert found[-1][1].reason == Reason.DAMAGED_FILE


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"bytes": b"x", "path": "a"}, None]),
        pa.array([["a"], None, ["b", "c"]]),
        pa.array([["a"], [], ["b", None]], pa.large_list(pa.string())),
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array([[["a"], []], [], [["b"]]]),
        pa.array(["a", None], pa.string_view()),
        pa.array([[1.5, 2.0]], pa.list_(pa.float32(), 2)),
        pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int32())),
        pa.nulls(2),
    ],
    ids=lambda column: str(column.type),
)
def test_sound_columns_of_any_type_are_read(column: pa.Array, tmp_path: Path) -> None:
    path = written(tmp_path / "t.arrow", pa.table({"x": column}))
    wanted = column.to_pylist()
    if pa.types.is_struct(column.type):
        wanted[1] = {"bytes": None, "path": None}  # as for Parquet and data sets: a field is looked for in it
    assert [row["x"] for _, row in rows(path) if not isinstance(row, BadRecordError)] == wanted
