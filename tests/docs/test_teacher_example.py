"""The worked example of docs/how-to/teachers.md does what it says."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import build
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.validation import parse
from tiny import tiny_config

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "teachers.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_a_checkpoint_of_ones_own_becomes_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_clip_folder, "architecture", lambda name: tiny_config())  # a small ViT-B-16
    torch.manual_seed(3)
    trained = build(tiny_config()).network
    state = {f"module.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"epoch": 10, "name": "ours", "state_dict": state, "optimizer": {}}, tmp_path / "epoch_10.pt")

    (python,) = blocks("python")
    exec(compile(python, str(PAGE), "exec"), {})
    (recipe,) = [text for text in blocks("toml") if "local-dir:models/ours" in text]
    (table,) = tomllib.loads(recipe)["teachers"]
    teacher = load_teacher(parse(TeacherSpec, table, "docs", {"base": tmp_path}), torch.device("cpu"))

    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        expected = trained.eval().encode_image(teacher.transform.normalise(pixels), normalize=True)
    torch.testing.assert_close(teacher.encode_images(pixels), expected)
    assert teacher.licence == "Apache-2.0"


def test_every_recipe_of_the_page_names_teachers_that_are_known() -> None:
    found = [tomllib.loads(text)["teachers"] for text in blocks("toml")]
    specs = [parse(TeacherSpec, item, "docs") for group in found for item in group]
    assert {spec.name for spec in specs} >= {"biomedclip", "quiltnet", "plip", "pmc", "ours"}
    assert {spec.library for spec in specs} == {"zoo", "open_clip"}
