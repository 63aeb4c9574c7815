"""Text tables as spans of bytes: where they are cut, and lines that are too long."""

import csv
import io
import json
from pathlib import Path

import pytest
from corpus_samples import png, reasons, records, write_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmkd
from mmkd.curation.settings.sources import TableSource
from mmkd.curation.sources.tables import TableReader
from mmkd.tables import text as text_tables
from mmkd.tables.dialect import Dialect
from mmkd.tables.spans import ROWS_PER_SHARD


def reader(path: Path) -> TableReader:
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path}))


def table(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    return write_files(folder, {"0.png": png(0), "1.png": png(1), name: text.encode()}) / name


def test_a_table_is_cut_into_spans_without_losing_or_repeating_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 3)
    captions = [f'row {i}, "quoted"\n\nand\r\n{"long" * i}' for i in range(10)]
    text = io.StringIO()
    csv.writer(text).writerows([["image", "caption"], *(["0.png", caption] for caption in captions)])
    for name, content in {
        "pairs.csv": "\ufeff" + text.getvalue(),
        "pairs.jsonl": "\n\n".join(json.dumps({"image": "0.png", "caption": caption}) for caption in captions),
    }.items():
        shards = reader(table(tmp_path, content, name)).shards()
        assert len(shards) == 4
        found = records(shards)
        assert [record.caption for record in found] == captions
        assert [record.id for record in found] == [f"t_{i:08d}" for i in range(10)]


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.jsonl"])
def test_a_line_that_is_too_long_costs_its_row_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A line of 100 bytes with its end is the longest that is read."""
    monkeypatch.setattr(text_tables, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)

    def row(caption: str) -> str:
        return f"0.png,{caption}" if name.endswith("csv") else json.dumps({"image": "0.png", "caption": caption})

    fill = 99 - len(row(""))
    lines = [row("x" * length) for length in (1, fill, fill + 1, 350, 2, fill + 1)]
    text = "\n".join(["image,caption"] * name.endswith("csv") + lines)
    shards = reader(table(tmp_path, text, name)).shards()
    assert len(shards) == 3
    assert [len(record.caption) for record in records(shards)] == [1, fill, 2]
    assert reasons(shards) == [(f"{name}:{i}", "long_caption") for i in (2, 3, 5)]


def test_a_long_line_within_quotes_ends_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tables, "MAX_LINE_BYTES", 50)
    path = table(tmp_path, f'image,caption\n0.png,"one\n{"x" * 200}"\n1.png,after\n')
    assert reasons(reader(path).shards()) == [("pairs.csv:0", "long_caption")]
    assert [record.caption for record in records(reader(path).shards())] == ["after"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), per_span=st.integers(1, 4))
def test_any_bytes_give_the_same_rows_in_spans_as_in_one(tmp_path: Path, content: bytes, per_span: int) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(b"a,b\n" + content)

    def read(size: int) -> list[object]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text_tables, "ROWS_PER_SHARD", size)
            spans = text_tables.csv_spans(path, Dialect())
        return [(number, str(row)) for span in spans for number, row in text_tables.csv_rows(path, span, Dialect())]

    assert read(per_span) == read(ROWS_PER_SHARD)


def test_no_other_code_of_mmkd_takes_separated_text_apart() -> None:
    root = Path(mmkd.__file__).parent
    calls = {p.relative_to(root).as_posix() for p in root.rglob("*.py") if "csv.reader(" in p.read_text()}
    assert calls == {"tables/text.py"}
