"""Pre-annotations as Label Studio's documentation describes them: guide/predictions, guide/storage (local files)."""

import json
import urllib.parse
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from corpus_samples import png
from typer.testing import CliRunner

from mmkd.cli import make_app
from mmkd.teachers.zoo.settings import TeacherSpec


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "ward 1").mkdir(parents=True)
    for number in range(4):
        (folder / f"ward 1/{number} #.png").write_bytes(png(number))
    (folder / "5.tif").write_bytes(png(5))
    return folder


def run(source: Path, teachers: list[TeacherSpec], *more: str) -> str:
    model = teachers[0].model.removeprefix("local-dir:")
    out = str(source.parent / "labels.csv")
    command = ["label", str(source), "--model", model, "--device", "cpu", "--classes", "a & b,c", "--out", out, *more]
    done = CliRunner().invoke(make_app(), command)
    return f"{done.exit_code} {done.output}{done.exception or ''}"


def test_tasks_and_interface(source: Path, tiny_teachers: list[TeacherSpec]) -> None:
    tasks = source.parent / "tasks.json"
    said = run(source, tiny_teachers, "--label-studio", str(tasks))
    assert said.startswith("0 ")
    assert f"1  left out of {tasks}" in said
    view = ElementTree.parse(tasks.with_suffix(".xml")).getroot()
    [image, choices] = list(view)
    assert [choice.get("value") for choice in choices] == ["a & b", "c"]
    found = json.loads(tasks.read_text())
    for number, task in enumerate(found):
        address = urllib.parse.urlparse(task["data"][str(image.get("value")).removeprefix("$")])
        assert address.path == "/data/local-files/"
        [name] = urllib.parse.parse_qs(address.query)["d"]
        assert (source.parent / name).read_bytes() == png(number)
        [prediction] = task["predictions"]
        [result] = prediction["result"]
        assert (result["from_name"], result["to_name"]) == (choices.get("name"), image.get("name"))
        assert result["type"] == "choices"
        assert result["value"]["choices"][0] in ("a & b", "c")
        assert 0.5 <= prediction["score"] <= 1
    assert len(found) == 4


def test_a_picture_without_a_label_has_no_result(source: Path, tiny_teachers: list[TeacherSpec]) -> None:
    tasks = source.parent / "tasks.json"
    assert run(source, tiny_teachers, "--label-studio", str(tasks), "--threshold", "1").startswith("0 ")
    predictions = [one for task in json.loads(tasks.read_text()) for one in task["predictions"]]
    assert [one["result"] for one in predictions] == [[]] * 4
    assert all(one["model_version"] and one["score"] < 1 for one in predictions)


def test_names_that_do_not_do(source: Path, tiny_teachers: list[TeacherSpec]) -> None:
    assert "--label-studio tasks.csv: expected" in run(source, tiny_teachers, "--label-studio", "tasks.csv")
    taken = str(source.parent / "labels.json")
    assert "choose another name" in run(source, tiny_teachers, "--label-studio", taken)
