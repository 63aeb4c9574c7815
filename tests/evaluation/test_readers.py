"""Samples from folders and tables, and each thing that can be wrong with them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.evaluation.card import Card
from mmkd.evaluation.catalog import load_card
from mmkd.evaluation.readers import READERS, TABLE_FORMATS, fingerprint, read_samples, table_rows

CLASSES = [{"name": "right", "prompts": ["r"]}, {"name": "left side", "folder": "left", "prompts": ["l"]}]
Rows = Sequence[Mapping[str, Any]]


def picture(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(path)
    return path


def card(layout: Mapping[str, Any], classes: Sequence[Mapping[str, Any]] = ()) -> Card:
    facts = {"id": "set", "modality": "ct", "tasks": ["any"], "licence": "CC0"}
    return Card.model_validate({**facts, "layout": layout, "classes": classes})


def folders(path: Path, **more: Any) -> Card:
    return card({"reader": "folders", "path": path, **more}, CLASSES)


def table(path: Path, rows: Rows, classes: Sequence[Mapping[str, Any]] = (), **more: Any) -> Card:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return card({"reader": "table", "path": path, **more}, classes)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("test/left/b.png", "test/left/deep/a.JPG", "test/right/c.png"):
        picture(tmp_path / name)
    (tmp_path / "test/left/notes.txt").write_text("no image")
    return tmp_path


def test_folders_give_labels_in_the_order_of_the_card(images: Path) -> None:
    found = [(sample.id, sample.label, sample.group) for sample in read_samples(folders(images / "test"))]
    assert found == [("right/c.png", 0, ""), ("left/b.png", 1, ""), ("left/deep/a.JPG", 1, "")]


def test_groups_come_from_a_table_beside_the_folders(images: Path) -> None:
    rows = [
        ("test/left/b.png", "p1"),
        ("test/left/deep/a.JPG", "p2"),
        ("test/right/c.png", "p1"),
        ("train/x.png", "p9"),
    ]
    (images / "items.csv").write_text("file,group\n" + "".join(f"{file},{group}\n" for file, group in rows))
    samples = read_samples(folders(images / "test", groups=images / "items.csv"))
    assert [sample.group for sample in samples] == ["p1", "p1", "p2"]


def test_an_image_without_group_is_an_error(images: Path) -> None:
    (images / "items.csv").write_text("file,group\ntest/left/b.png,p1\n")
    with pytest.raises(DataError, match=r"items\.csv names no group for .*c\.png"):
        read_samples(folders(images / "test", groups=images / "items.csv"))


def test_missing_folders_are_named_with_what_is_there(images: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        read_samples(folders(images / "nowhere"))
    (images / "test/right").rename(images / "test/wrong")
    with pytest.raises(DataError, match=r"class 'right' has no folder .*; folders found: left, wrong"):
        read_samples(folders(images / "test"))


def test_an_empty_class_is_an_error(images: Path) -> None:
    (images / "test/right/c.png").unlink()
    with pytest.raises(DataError, match="class 'right' has no images"):
        read_samples(folders(images / "test"))


ROWS = [
    {"id": "1", "image": "a.png", "caption": " one ", "kind": "source", "who": "p1", "side": "left"},
    {"id": "2", "image": "a.png", "caption": "", "kind": "label", "who": "", "side": "right"},
]


def test_tables_give_captions_groups_and_labels_under_other_names(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    opened = table(tmp_path / "t.csv", ROWS, CLASSES, columns={"group": "who", "label": "side"})
    found = [(sample.id, sample.caption, sample.group, sample.label) for sample in read_samples(opened)]
    assert found == [("1", "one", "p1", 1), ("2", None, "", 0)]


def test_only_keeps_the_rows_that_belong_to_the_set(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert [s.id for s in read_samples(table(tmp_path / "t.csv", ROWS, only={"kind": ["source"]}))] == ["1"]
    with pytest.raises(DataError, match=r"holds no samples with .*check the column names"):
        read_samples(table(tmp_path / "t.csv", ROWS, only={"knid": ["source"]}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "2"}, "'2' occurs more than once"),
        ({"id": ""}, "row 1: column 'id' is empty"),
        ({"image": "b.png"}, "row 1: no image file .*b.png"),
        ({"image": "../secret.png"}, "row 1: .*paths stay inside"),
        ({"image": "/etc/passwd"}, "row 1: .*paths stay inside"),
        ({"side": "up"}, "row 1: label 'up' is no class; expected right, left"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], told: str) -> None:
    picture(tmp_path / "a.png")
    opened = table(tmp_path / "t.csv", [{**ROWS[0], **change}, ROWS[1]], CLASSES, columns={"label": "side"})
    with pytest.raises(DataError, match=told):
        read_samples(opened)


def test_a_missing_column_lists_the_columns_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'image' is missing; columns found: id, picture"):
        read_samples(table(tmp_path / "t.csv", [{"id": "1", "picture": "a.png"}]))


def write_as(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        mark = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join([mark.join(rows[0]), *(mark.join(row.values()) for row in rows)]) + "\n")


@pytest.mark.parametrize("suffix", list(TABLE_FORMATS))
def test_every_format_of_table_reads_alike(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": "007", "caption": "ö"}, {"id": "8", "caption": "b"}]
    write_as(tmp_path / f"t{suffix}", rows)
    assert list(table_rows(tmp_path / f"t{suffix}")) == [(f"t{suffix}, row {n}", row) for n, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.jsonl", b"[1]\n", "expected one JSON object a line"),
        ("t.jsonl", b"{\n", "not readable as .jsonl"),
        ("t.csv", b"id\n\xff\n", "not readable as .csv"),
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


def test_the_fingerprint_follows_names_prompts_and_pixels_but_not_the_place(images: Path, tmp_path: Path) -> None:
    opened = folders(images / "test")
    before = fingerprint(opened, read_samples(opened))
    moved = folders((images / "test").rename(tmp_path / "elsewhere"))
    assert fingerprint(moved, read_samples(moved)) == before
    reworded = moved.model_copy(update={"classes": moved.classes[::-1]})
    assert fingerprint(reworded, read_samples(reworded)) != before
    picture(tmp_path / "elsewhere/left/b.png", colour=9)
    assert fingerprint(moved, read_samples(moved)) != before


def test_every_layout_of_a_card_has_a_reader() -> None:
    layouts = Card.model_json_schema()["$defs"]
    named = {kind["properties"]["reader"]["const"] for kind in layouts.values() if "reader" in kind["properties"]}
    assert named == set(READERS)


def test_a_split_of_a_corpus_is_a_data_set_of_its_own(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(
        'id = "held_out"\nmodality = "mixed"\ntasks = ["retrieval"]\nlicence = "MIT"\n'
        '[layout]\nreader = "corpus"\npath = "${out}/corpus"\n'
    )
    card = load_card(tmp_path / "card.toml", {"out": str(tiny_corpus.parent)})
    samples = read_samples(card)
    corpus = Corpus(tiny_corpus)
    rows = corpus.rows("val")
    assert [sample.id for sample in samples] == [corpus.column("id")[row] for row in rows]
    assert [sample.caption for sample in samples] == [corpus.column("caption")[row] for row in rows]
    assert [sample.group for sample in samples] == [corpus.column("group")[row] for row in rows]
    assert samples[0].image.read_bytes() == corpus.images(rows[:1])[0]
    assert fingerprint(card, samples) == fingerprint(card, read_samples(card))
