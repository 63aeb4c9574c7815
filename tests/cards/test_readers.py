"""Samples from folders and corpora, what every data set is checked for, and its fingerprint."""

from pathlib import Path
from typing import Any

import pytest
from reader_cards import CLASSES, card, picture, table

from mmkd.cards.card import Card
from mmkd.cards.readers.read import READERS, read_samples
from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, DataError
from mmkd.evaluation.data_sets.choose import load_card
from mmkd.evaluation.data_sets.source import fingerprint
from mmkd.validation import parse


def folders(path: Path, **more: Any) -> Card:
    return card({"reader": "folders", "path": path, **more}, CLASSES)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("test/left/b.png", "test/left/deep/a.JPG", "test/right/c.png"):
        picture(tmp_path / name)
    (tmp_path / "test/left/notes.txt").write_text("no image")
    return tmp_path


def test_folders_give_labels_in_the_order_of_the_card(images: Path) -> None:
    found = [(sample.id, sample.label, sample.group) for sample in read_samples(folders(images / "test"))]
    assert found == [("right/c.png", 0, ""), ("left/b.png", 1, ""), ("left/deep/a.JPG", 1, "")]


def test_a_folder_per_split(images: Path) -> None:
    for name in ("learn/left/d.png", "learn/right/e.png"):
        picture(images / name)
    samples = read_samples(folders(images, splits={"train": "learn", "test": "test"}))
    assert [(sample.id, sample.split) for sample in samples] == [
        ("learn/right/e.png", "train"),
        ("learn/left/d.png", "train"),
        ("test/right/c.png", "test"),
        ("test/left/b.png", "test"),
        ("test/left/deep/a.JPG", "test"),
    ]


def test_hashed_splits_keep_the_groups_that_the_names_tell(tmp_path: Path) -> None:
    for patient in range(40):
        for number in range(2):
            picture(tmp_path / ("left" if patient % 2 else "right") / f"CNV-{patient}-{number}.png")
    samples = read_samples(folders(tmp_path, hashed={"test": 0.5}, group_pattern=r"-(\d+)-"))
    splits = {patient: {sample.split for sample in samples if sample.group == str(patient)} for patient in range(40)}
    assert all(len(found) == 1 for found in splits.values())
    assert {sample.split for sample in samples} == {"train", "test"}


def test_a_pattern_that_finds_no_group_is_an_error(images: Path) -> None:
    with pytest.raises(DataError, match=r"group_pattern .* finds no group in c\.png"):
        read_samples(folders(images / "test", group_pattern=r"(\d+)"))
    for pattern, told in (("(", "no regular expression"), ("a", "has 0 groups, expected one")):
        with pytest.raises(ConfigError, match=told):
            read_samples(folders(images / "test", group_pattern=pattern))


def test_skipped_files_are_no_samples(images: Path) -> None:
    picture(images / "test/left/b_mask.png")
    picture(images / "test/left/masks/b.png")
    skipping = folders(images / "test", skip=["*_mask*", "masks/*"])
    assert [sample.id for sample in read_samples(skipping)] == ["right/c.png", "left/b.png", "left/deep/a.JPG"]


def test_groups_come_from_a_table_beside_the_folders(images: Path) -> None:
    groups = {"test/left/b.png": "p1", "test/left/deep/a.JPG": "p2", "test/right/c.png": "p1", "train/x.png": "p9"}
    (images / "items.csv").write_text("file,group\n" + "".join(f"{file},{group}\n" for file, group in groups.items()))
    samples = read_samples(folders(images / "test", groups=images / "items.csv"))
    assert [sample.group for sample in samples] == ["p1", "p1", "p2"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("test/left/b.png,p1", r"items\.csv names no group for .*c\.png"),
        ("test/left/b.png,", r"set: items\.csv, row 1: column 'group' is empty"),
        ("../b.png,p1", r"set: items\.csv, row 1: .*leads outside .* and root = "),
    ],
)
def test_a_wrong_table_of_groups_is_named(images: Path, row: str, told: str) -> None:
    (images / "items.csv").write_text(f"file,group\n{row}\n")
    with pytest.raises(DataError, match=told):
        read_samples(folders(images / "test", groups=images / "items.csv"))


def test_missing_folders_are_named_with_what_is_there(images: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        read_samples(folders(images / "nowhere"))
    (images / "test/right").rename(images / "test/wrong")
    with pytest.raises(DataError, match=r"class 'right' has no folder .*; folders found: left, wrong"):
        read_samples(folders(images / "test"))


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ({"splits": {"test": "test"}, "hashed": {}}, "either splits or hashed"),
        ({"groups": "items.csv", "group_pattern": "(a)"}, "either groups or group_pattern"),
    ],
)
def test_layouts_that_contradict_themselves_are_refused(layout: dict[str, Any], told: str) -> None:
    facts = {"id": "set", "modality": "ct", "tasks": ["any"], "licence": "CC0"}
    with pytest.raises(ConfigError, match=told):
        parse(Card, {**facts, "layout": {"reader": "folders", "path": ".", **layout}}, "card.toml", {})


def labelled(path: Path, rows: list[str], **more: Any) -> Card:
    """rows: `split label`."""
    facts = [{"split": split, "label": label} for split, label in (row.split() for row in rows)]
    return table(path, facts, [*CLASSES, {"name": "both"}], **more)


def test_a_class_without_test_samples_is_an_error(tmp_path: Path, images: Path) -> None:
    with pytest.raises(DataError, match=r"class 'both' has no test samples in .*t\.csv"):
        read_samples(labelled(tmp_path / "t.csv", ["test right", "test left", "train both"]))
    (images / "test/right/c.png").unlink()
    (images / "test/right/c.txt").write_text("no image")
    with pytest.raises(DataError, match=r"all 2 test samples in .* are of class 'left side'"):
        read_samples(folders(images / "test"))


def test_a_test_split_of_one_class_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 2 test samples in .*t\.csv are of class 'left side'"):
        read_samples(labelled(tmp_path / "t.csv", ["test left", "test left", "train both", "train right"]))


def test_a_data_set_without_test_samples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv holds no test samples; splits found: train, val"):
        read_samples(labelled(tmp_path / "t.csv", ["train left", "val right"]))


def test_an_empty_data_set_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,label\n")
    with pytest.raises(DataError, match=r"t\.csv holds no samples"):
        read_samples(card({"reader": "table", "path": tmp_path / "t.csv"}))


def test_pictures_of_some_samples_only_are_an_error(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="1 of 2 samples have no picture, '2' among them"):
        read_samples(table(tmp_path / "t.jsonl", [{"id": "1", "image": "a.png"}, {"id": "2"}]))


def marked(opened: Card) -> str:
    samples = read_samples(opened)
    return fingerprint(opened, samples)


def test_the_fingerprint_follows_names_prompts_and_pixels_but_not_the_place(images: Path, tmp_path: Path) -> None:
    before = marked(folders(images / "test"))
    moved = folders((images / "test").rename(tmp_path / "elsewhere"))
    assert marked(moved) == before
    assert marked(moved.model_copy(update={"classes": moved.classes[::-1]})) != before
    picture(tmp_path / "elsewhere/left/b.png", colour=9)
    assert marked(moved) != before


def test_the_fingerprint_follows_what_is_true_of_a_sample(tmp_path: Path) -> None:
    row = {"id": "1", "caption": "c", "group": "g", "question": "q", "answer": "a", "time": 1, "event": 1, "age": 5}
    changes = {"caption": "d", "group": "h", "answer": "b", "time": 2, "event": 0, "age": 6}
    more: dict[str, Any] = {"covariates": {"age": ["age"]}, "columns": {"time": "time", "event": "event"}}
    others = [{**row, "id": "2"}, {**row, "id": "3", "event": 0}]
    rows = [row, *({**row, name: value} for name, value in changes.items())]
    marks = {marked(table(tmp_path / "t.jsonl", [changed, *others], **more)) for changed in rows}
    assert len(marks) == len(rows)


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
    for column, found in (
        ("id", [sample.id for sample in samples]),
        ("caption", [sample.caption for sample in samples]),
        ("group", [sample.group for sample in samples]),
        ("sha256", [sample.image.digest() for sample in samples]),
    ):
        assert found == [corpus.column(column)[row] for row in rows]
    assert samples[0].image.read().mode == "RGB"
    assert marked(card) == marked(card)
