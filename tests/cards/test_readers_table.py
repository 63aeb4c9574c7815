"""Samples from tables, and each thing that can be wrong with them."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_cards import CLASSES, card, picture, table, write_table

from mmkd.cards.card import Card
from mmkd.cards.layouts import HashedSplit
from mmkd.cards.readers.read import read_samples
from mmkd.cards.readers.splits import hashed_split
from mmkd.cards.samples import FileImage, Question, Survival
from mmkd.errors import ConfigError, DataError
from mmkd.validation import parse

ROWS = [
    {"id": "1", "image": "a.png", "caption": " one ", "kind": "source", "who": "p1", "side": "left"},
    {"id": "2", "image": "a.png", "caption": "", "kind": "label", "who": "", "side": "right"},
]


def test_tables_give_captions_groups_and_labels_under_other_names(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    opened = table(tmp_path / "t.csv", ROWS, CLASSES, columns={"group": "who", "label": "side"})
    found = [(sample.id, sample.caption, sample.group, sample.label) for sample in read_samples(opened)]
    assert found == [("1", "one", "p1", 1), ("2", None, "", 0)]


@pytest.mark.parametrize("word", ["nan", "N/A", "None", "NULL"])
def test_a_word_for_a_missing_value_is_no_group(tmp_path: Path, word: str) -> None:
    picture(tmp_path / "a.png")
    opened = table(tmp_path / "t.csv", [{**row, "who": word} for row in ROWS], columns={"group": "who"})
    assert [sample.group for sample in read_samples(opened)] == ["", ""]


def test_rows_that_name_the_same_file_share_one_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    first, second = read_samples(table(tmp_path / "t.csv", ROWS))
    assert first.image == second.image == FileImage((tmp_path / "a.png").resolve())


def test_include_keeps_the_rows_that_belong_to_the_set(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    assert [s.id for s in read_samples(table(tmp_path / "t.csv", ROWS, include={"kind": ["source"]}))] == ["1"]
    with pytest.raises(DataError, match=r"holds no samples with .*check the values of"):
        read_samples(table(tmp_path / "t.csv", ROWS, include={"kind": ["sauce"]}))
    with pytest.raises(DataError, match=r"t.csv has no column 'knid'; found: id, image"):
        read_samples(table(tmp_path / "t.csv", ROWS, include={"knid": ["source"]}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "2"}, "'2' occurs more than once"),
        ({"id": ""}, "row 1: column 'id' is empty"),
        ({"image": ""}, "row 1: column 'image' is empty"),
        ({"image": "b.png"}, "row 1: no image file .*b.png"),
        ({"image": "../secret.png"}, "row 1: .*leads outside .*: root = "),
        ({"image": "/etc/passwd"}, "row 1: .*leads outside .*: root = "),
        ({"image": "https://host/a.png"}, "row 1: .*a URL"),
        ({"image": "a\0.png"}, "row 1: "),
        ({"image": "a" * 300}, "row 1: no image file"),
        ({"side": "up"}, "row 1: label 'up' is no class; expected right, left"),
        ({"side": ""}, "row 1: column 'side' is empty"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], told: str) -> None:
    picture(tmp_path / "a.png")
    opened = table(tmp_path / "t.jsonl", [{**ROWS[0], **change}, ROWS[1]], CLASSES, columns={"label": "side"})
    with pytest.raises(DataError, match=f"set: .*{told}"):
        read_samples(opened)


def test_a_missing_column_lists_the_columns_there_are(tmp_path: Path) -> None:
    rows = [{"id": "1", "picture": "a.png"}]
    with pytest.raises(DataError, match=r"t.csv has no column 'image_name'; found: id, picture"):
        read_samples(table(tmp_path / "t.csv", rows, columns={"image": "image_name"}))
    with pytest.raises(DataError, match="no column 'patient'"):
        read_samples(table(tmp_path / "t.csv", rows, columns={"group": "patient"}))
    with pytest.raises(DataError, match="no column 'sex'"):
        read_samples(table(tmp_path / "t.csv", rows, subgroups=["sex"]))


def test_names_of_images_can_be_filled_from_several_columns(tmp_path: Path) -> None:
    for name in ("p1/left_7.png", "p1/right_7.png"):
        picture(tmp_path / "pictures" / name)
    rows = [{"who": "p1", "eye": eye, "scan": "7.dcm"} for eye in ("left", "right")]
    layout = {"columns": {"image": "{who}/{eye}_{scan:stem}.png", "id": "{who} {eye}"}}
    samples = read_samples(table(tmp_path / "t.csv", rows, images=tmp_path / "pictures", **layout))
    assert [sample.id for sample in samples] == ["p1 left", "p1 right"]
    found = [sample.image.path.name for sample in samples]  # type: ignore[attr-defined]
    assert found == ["left_7.png", "right_7.png"]
    with pytest.raises(DataError, match=r"row 1: .*leads outside .*: root = "):
        read_samples(table(tmp_path / "t.csv", [{**rows[0], "who": "../.."}], images=tmp_path / "pictures", **layout))


def test_a_table_per_split(tmp_path: Path) -> None:
    paths = {split: write_table(tmp_path / f"{split}.csv", [{"caption": split}] * 2) for split in ("train", "test")}
    samples = read_samples(card({"reader": "table", "splits": paths}))
    assert [(sample.id, sample.split, sample.caption) for sample in samples] == [
        ("train/1", "train", "train"),
        ("train/2", "train", "train"),
        ("test/1", "test", "test"),
        ("test/2", "test", "test"),
    ]


@pytest.mark.parametrize(
    ("values", "more"),
    [
        (["train", "valid", "test"], {}),
        (["0", "1", "2"], {"split_values": {"train": ["0"], "val": ["1"], "test": ["2", "3"]}}),
    ],
)
def test_a_column_of_splits(tmp_path: Path, values: list[str], more: dict[str, Any]) -> None:
    rows = [{"split": value} for value in values]
    assert [s.split for s in read_samples(table(tmp_path / "t.csv", rows, **more))] == ["train", "val", "test"]
    with pytest.raises(DataError, match=r"row 1: split 'spare' is unknown, expected one of .*; see split_values"):
        read_samples(table(tmp_path / "t.csv", [{"split": "spare"}], **more))


def test_hashed_splits_keep_groups_whole_and_do_not_move_when_data_are_added(tmp_path: Path) -> None:
    rows = [{"id": str(n), "group": f"p{n // 3}"} for n in range(900)]
    hashed = {"val": 0.2, "test": 0.3}

    def splits(count: int) -> dict[str, str]:
        return {s.id: s.split for s in read_samples(table(tmp_path / "t.csv", rows[:count], hashed=hashed))}

    whole, part = splits(900), splits(300)
    assert part == {name: whole[name] for name in part}
    assert all(len({whole[str(n + k)] for k in range(3)}) == 1 for n in range(0, 900, 3))
    shares = [list(whole.values()).count(split) / 900 for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.5, 0.2, 0.3], abs=3 * math.sqrt(0.25 / 300))


@settings(max_examples=50)
@given(st.text(), st.floats(0.01, 0.4), st.floats(0, 0.4), st.floats(0, 0.15))
def test_a_larger_test_share_only_adds_to_it(name: str, test: float, val: float, more: float) -> None:
    small, large = (hashed_split(HashedSplit(val=val, test=share), name) for share in (test, test + more))
    assert small != "test" or large == "test"
    assert small != "val" or large != "train"


@pytest.mark.parametrize(
    ("layout", "told"),
    [
        ({}, "give either path"),
        ({"path": "a.csv", "splits": {"test": "b.csv"}}, "give either path"),
        ({"splits": {"test": "b.csv"}, "hashed": {}}, "exclude each other"),
        ({"path": "a.csv", "hashed": {}, "columns": {"split": "fold"}}, "either hashed or the column"),
        ({"path": "a.csv", "hashed": {"val": 0.5, "test": 0.5}}, "leave some to train on"),
    ],
)
def test_layouts_that_contradict_themselves_are_refused(layout: dict[str, Any], told: str) -> None:
    facts = {"id": "set", "modality": "ct", "tasks": ["any"], "licence": "CC0"}
    with pytest.raises(ConfigError, match=told):
        parse(Card, {**facts, "layout": {"reader": "table", **layout}}, "card.toml", {})


MANY = [{"name": "none"}, {"name": "mass"}, {"name": "effusion", "folder": "Effusion"}]


def labels(path: Path, rows: list[dict[str, Any]], **more: Any) -> list[tuple[int, ...]]:
    more = {"multi_label": True, **more}
    return [
        sample.labels for sample in read_samples(table(path, rows, MANY[1:] if more["multi_label"] else MANY, **more))
    ]


def test_several_labels_in_one_cell(tmp_path: Path) -> None:
    rows = [{"label": text} for text in ("Effusion| mass", "No Finding", "", "mass|mass")]
    assert labels(tmp_path / "t.csv", [{"id": n, **row} for n, row in enumerate(rows)], unlabelled=["No Finding"]) == [
        (0, 1),
        (),
        (),
        (0,),
    ]
    with pytest.raises(DataError, match="label 'No Finding' is no class; expected mass, Effusion"):
        labels(tmp_path / "t.jsonl", rows)
    with pytest.raises(DataError, match="column 'label' is missing"):
        labels(tmp_path / "t.csv", [{"id": "1"}])


def test_one_column_for_each_class(tmp_path: Path) -> None:
    rows = [{"mass": "1.0", "Effusion": "0"}, {"mass": "", "Effusion": "1"}, {"mass": "0", "Effusion": ""}]
    assert labels(tmp_path / "t.csv", rows, one_hot=True) == [(0,), (1,), ()]
    with pytest.raises(DataError, match="row 1: column 'mass' holds '-1', expected 0 or 1"):
        labels(tmp_path / "t.csv", [{"mass": "-1", "Effusion": "0"}], one_hot=True)
    with pytest.raises(DataError, match="row 1: column 'Effusion' is missing"):
        labels(tmp_path / "t.csv", [{"mass": "1"}], one_hot=True)


def test_one_of_the_columns_must_be_one_where_a_sample_has_one_class(tmp_path: Path) -> None:
    places = (0, 1, 2)
    rows = [{entry.get("folder", entry["name"]): int(k == n) for k, entry in enumerate(MANY)} for n in places]
    assert labels(tmp_path / "t.csv", rows, one_hot=True, multi_label=False) == [(n,) for n in places]
    with pytest.raises(DataError, match="row 2: 2 of the classes' columns are 1, expected one; or set multi_label"):
        labels(tmp_path / "t.csv", [rows[0], {**rows[1], "none": 1}], one_hot=True, multi_label=False)
    with pytest.raises(DataError, match="row 1: column 'mass' is empty"):
        labels(tmp_path / "t.csv", [{**rows[0], "mass": ""}], one_hot=True, multi_label=False)


def test_questions_are_closed_by_their_type_or_else_by_their_answer(tmp_path: Path) -> None:
    rows = [
        {"question": "Where?", "answer": "left", "answer_type": "CLOSED"},
        {"question": "Is it?", "answer": "yes", "answer_type": "OPEN"},
        {"question": "Is it?", "answer": "No", "answer_type": ""},
        {"question": "How many?", "answer": 2, "answer_type": None},
    ]
    samples = read_samples(table(tmp_path / "t.json", rows))
    assert [sample.question for sample in samples] == [
        Question("Where?", "left", True),
        Question("Is it?", "yes", False),
        Question("Is it?", "No", True),
        Question("How many?", "2", False),
    ]
    with pytest.raises(DataError, match="row 1: column 'answer' is empty"):
        read_samples(table(tmp_path / "t.json", [{"question": "Where?", "answer": ""}]))


def test_closed_is_decided_on_the_normal_form_of_the_answer(tmp_path: Path) -> None:
    answers = ["Yes.", "No.", "yes", "NO", "no change", "-2.50"]
    rows: list[dict[str, Any]] = [{"question": "Is it?", "answer": answer} for answer in answers]
    found = [sample.question.closed for sample in read_samples(table(tmp_path / "t.csv", rows)) if sample.question]
    assert found == [True, True, True, True, False, False]
    rows = [{"question": "Is it?", "answer": "left", "answer_type": kind} for kind in ("CLOSED", "Closed", "OPEN")]
    found = [sample.question.closed for sample in read_samples(table(tmp_path / "k.csv", rows)) if sample.question]
    assert found == [True, True, False]


def test_survival_with_covariates_and_without_pictures(tmp_path: Path) -> None:
    rows = [
        {"case": "p1", "months": "12.5", "censorship": "1.0", "age": "60", "stage": "II"},
        {"case": "p2", "months": "0", "censorship": "0", "age": "", "stage": ""},
        {"case": "p3", "months": "", "censorship": "", "age": "nan", "stage": "I"},
    ]
    columns = {"id": "case", "time": "months", "event": "censorship"}
    more: dict[str, Any] = {"columns": columns, "censored": "1", "covariates": {"age": ["age"]}, "subgroups": ["stage"]}
    one, two, three = read_samples(table(tmp_path / "t.csv", rows, **more))
    assert (one.survival, one.covariates, one.facts) == (Survival(12.5, False), {"age": 60.0}, {"stage": "II"})
    assert two.survival == Survival(0.0, True)
    assert math.isnan(two.covariates["age"])
    assert (two.images, two.facts) == ((), {"stage": ""})
    assert three.survival is None
    for change, told in (
        ({"age": "old"}, "column 'age' holds 'old', expected a number or nothing"),
        ({"age": "inf"}, "column 'age' holds 'inf', expected a number or nothing"),
        ({"months": "-1"}, "time -1 is no time of follow-up"),
        ({"months": "nan"}, "time nan is no time of follow-up"),
        ({"months": ""}, "column 'months' is empty"),
        ({"censorship": ""}, "column 'censorship' is empty"),
    ):
        with pytest.raises(DataError, match=f"row 1: {told}"):
            read_samples(table(tmp_path / "t.csv", [{**rows[0], **change}, rows[1]], **more))
