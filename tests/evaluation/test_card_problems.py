"""What a check finds before a model is loaded: all that would end the evaluation of a card, for each task."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmkd.cards.card import Card
from mmkd.evaluation.data_sets.checks import SHOWN, problems

CLASSES = [{"name": name, "prompts": [name]} for name in ("left", "right")]
Rows = list[dict[str, Any]]


def card(folder: Path, rows: Sequence[Mapping[str, Any]], task: str, reader: str = "table", **keys: Any) -> Card:
    with (folder / "t.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    facts = {"id": "set", "modality": "ct", "tasks": [task], "licence": "CC0", **keys}
    layout = {"reader": reader, "path": folder / "t.csv", **keys.pop("layout", {})}
    return Card.model_validate({**facts, "layout": layout})


def pictures(folder: Path, count: int) -> list[str]:
    for n in range(count):
        Image.new("RGB", (4, 4), (n, 0, 0)).save(folder / f"{n}.png")
    return [f"{n}.png" for n in range(count)]


def classified(folder: Path) -> Rows:
    return [
        {"image": name, "label": ("left", "right")[n % 2], "split": ("train", "test")[n // 4]}
        for n, name in enumerate(pictures(folder, 8))
    ]


def asked(folder: Path) -> Rows:
    return [
        {"image": name, "question": "Where?", "answer": ("left", "right")[n % 2], "split": ("train", "test")[n // 4]}
        for n, name in enumerate(pictures(folder, 8))
    ]


def captioned(folder: Path) -> Rows:
    return [{"image": name, "caption": f"caption {name}"} for name in pictures(folder, 4)]


def followed(folder: Path) -> Rows:
    return [{"time": 1 + n, "event": int(n % 2 == 0), "age": 40 + 7 * n % 30} for n in range(40)]


def slides(folder: Path) -> Rows:
    names = pictures(folder, 2)
    return [
        {"group": f"p{n}", "label": ("left", "right")[n % 2], "tiles": str(names).replace("'", '"')} for n in range(12)
    ]


TASKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "zero_shot": (classified, {"classes": CLASSES}),
    "linear_probe": (classified, {"classes": CLASSES}),
    "vqa": (asked, {}),
    "retrieval": (captioned, {}),
    "survival": (followed, {"covariates": {"age": ["age"]}}),
    "diagnosis": (slides, {"reader": "slides", "classes": CLASSES}),
}


@pytest.mark.parametrize("task", TASKS)
def test_a_good_card_has_no_problem(task: str, tmp_path: Path) -> None:
    rows, keys = TASKS[task]
    assert problems(card(tmp_path, rows(tmp_path), task, **keys)) == []


def changed(rows: Rows, **values: Any) -> Rows:
    return [{**row, **values} for row in rows]


@pytest.mark.parametrize(
    ("task", "change", "told"),
    [
        ("linear_probe", lambda rows: rows[4:], "set, linear_probe: no training sample for the linear probe"),
        ("linear_probe", lambda rows: rows[:4], "holds no test samples; splits found: train"),
        ("zero_shot", lambda rows: changed(rows, label="left"), "are of class 'left'; there is nothing to classify"),
        ("retrieval", lambda rows: changed(rows, caption="one"), "set, retrieval: 4 test pairs with 1 different"),
        ("retrieval", lambda rows: [*rows[1:], {**rows[0], "caption": ""}], "retrieval needs one for every row"),
        ("vqa", lambda rows: rows[4:], "set, vqa: 0 distinct answers in the train split"),
        ("vqa", lambda rows: changed(rows, answer="left"), "set, vqa: 1 distinct answers in the train split"),
        ("vqa", lambda rows: [*rows[:4], *changed(rows[4:], image="0.png")], "1 distinct test picture; shuffled"),
        ("survival", lambda rows: changed(rows, event="1"), "by that everybody has the event"),
        (
            "survival",
            lambda rows: [{**row, "event": int(row["time"] == 1)} for row in rows],
            "1 of 40 patients had the",
        ),
        ("survival", lambda rows: changed(rows, age=""), "40 with missing covariates; that is more than half"),
        ("diagnosis", lambda rows: rows[:3], "class 'right' has slides to test but none to train on"),
        ("diagnosis", lambda rows: changed(rows, tiles="[]"), "column 'tiles' holds no list of images"),
    ],
)
def test_what_a_task_lacks_is_told_without_a_model(task: str, change: Any, told: str, tmp_path: Path) -> None:
    rows, keys = TASKS[task]
    found = problems(card(tmp_path, change(rows(tmp_path)), task, **keys))
    assert len(found) == 1
    assert told in found[0]


def test_a_card_that_a_task_cannot_serve_and_one_without_a_table_are_told(tmp_path: Path) -> None:
    good = card(tmp_path, captioned(tmp_path), "retrieval")
    assert problems(good.model_copy(update={"tasks": ["retrival"]})) == [
        "set: unknown task 'retrival'; did you mean 'retrieval'?"
    ]
    assert "needs at least two [[classes]]" in problems(good.model_copy(update={"tasks": ["zero_shot"]}))[0]
    (tmp_path / "t.csv").unlink()
    assert "no table" in problems(good)[0]


def test_all_tasks_are_checked_and_unreadable_pictures_are_named_and_counted(tmp_path: Path) -> None:
    rows = [{**row, "caption": "one", "split": "test"} for row in classified(tmp_path)]
    broken = SHOWN + 2
    for n in range(broken):
        (tmp_path / f"{n}.png").write_bytes(b"no picture")
    several = card(tmp_path, rows, "linear_probe", classes=CLASSES, tasks=["linear_probe", "retrieval", "zero_shot"])
    found = problems(several)
    assert [told.split(":")[0] for told in found[:2]] == ["set, linear_probe", "set, retrieval"]
    assert all("0123456789"[n] + ".png: not readable as an image" in found[2 + n] for n in range(SHOWN))
    assert found[2 + SHOWN :] == ["set: 2 of 8 tried pictures besides are not readable"]
