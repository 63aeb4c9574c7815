"""The formats of tables: each reads alike, and whatever is in a file, it is samples or a clear error."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_cards import CLASSES, card, write_table

from mmkd.cards.readers.read import read_samples
from mmkd.cards.readers.tables import table_rows
from mmkd.errors import DataError
from mmkd.tables.formats import SUFFIXES


@pytest.mark.parametrize("suffix", list(SUFFIXES))
def test_every_format_of_table_reads_alike(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": "007", "caption": 'ö, "x"\n'}, {"id": "8", "caption": "b"}]
    path = write_table(tmp_path / f"t{suffix}", rows)
    assert list(table_rows(path)) == [(f"t{suffix}, row {n}", row) for n, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.jsonl", b"[1]\n", "after row 0 .expected a JSON object, found list"),
        ("t.jsonl", b"{\n", "not readable as .jsonl"),
        ("t.json", b'{"a": 1}', "expected a list of objects, found an object"),
        ("t.json", b"[1]", "expected a list of objects"),
        ("t.json", b"[" * 100_000, "not readable as .json"),
        ("t.csv", b"id\n\xff\n", "not readable as .csv"),
        ("t.csv", b"id,x\n1,2\n3\n", "after row 1 .1 fields found, the header has 2"),
        ("t.csv", b"id,id\n1,2\n", "columns need distinct names, found id, id"),
        ("t.csv", b'id,x\n1,"2"3\n', "after row 0 .not CSV"),
        ("t.csv", b'id,x\n1,2\n3,"4\n', "after row 1 .not CSV"),
        ("t.jsonl", b'{"id": "\xff"}\n', "not readable as .jsonl"),
        ("t.arrow", b"no", "not readable as .arrow"),
        ("t.parquet", b"no", "not readable as .parquet"),
        ("t.xlsx", b"", "unknown kind of table; expected .csv"),
        ("t.csv", None, "no table"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, name: str, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told):
        list(table_rows(tmp_path / name))


CELLS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a.png", "left", "1", "yes"])
)
COLUMNS = st.sampled_from(
    ["id", "image", "label", "group", "split", "question", "answer", "time", "event", "age", "caption", "{age}"]
)
RECORDS = st.dictionaries(COLUMNS | st.text(), CELLS | st.lists(CELLS) | st.dictionaries(st.text(), CELLS))


def read_or_refuse(layout: dict[str, Any], **facts: Any) -> None:
    """Samples or a DataError, nothing else."""
    try:
        samples = read_samples(card({"reader": "table", **layout}, CLASSES, **facts))
    except DataError:
        return
    assert samples
    assert all(sample.id for sample in samples)


@settings(max_examples=60)
@given(st.lists(RECORDS, max_size=5), st.booleans(), st.booleans())
def test_any_json_is_samples_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], several: bool, columns: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.json").write_text(json.dumps(rows))
    more = {"columns": {"caption": "{age}", "group": "group"}} if columns else {}
    read_or_refuse({"path": folder / "any.json", **more}, multi_label=several, covariates={"age": ["age"]})


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(list(SUFFIXES)))
def test_any_bytes_are_samples_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    read_or_refuse({"path": path})
