"""`mmkd datasets`: the catalogue as a list, what is on disk, what is missing and where it is to be had."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mmkd.cards.catalogue import catalogue
from mmkd.commands.datasets import app
from mmkd.errors import ConfigError


def datasets(*arguments: object, code: int = 0) -> Result:
    """The command's result; the exceptions that `mmkd` turns into messages are raised."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def rows(*arguments: object, code: int = 0) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in json.loads(datasets(*arguments, "--json", code=code).stdout)}


def test_the_whole_catalogue_is_listed() -> None:
    shown = datasets("list").stdout
    assert all(name in shown for name in catalogue())
    assert f"{len(catalogue())} data sets" in shown
    assert set(rows("list")) == set(catalogue())


def test_a_part_is_listed_with_its_doubts() -> None:
    listed = rows("list", "xray", "busi")
    assert {row["modality"] for row in listed.values()} == {"x-ray", "ultrasound"}
    assert listed["rsna_pneumonia"]["samples"] == 26684
    assert "samples" in listed["rsna_pneumonia"]["unverified"]
    shown = datasets("list", "rsna_pneumonia", "--markdown").stdout
    assert "| 26,684? |" in shown


def test_unknown_names_are_explained() -> None:
    with pytest.raises(ConfigError, match="did you mean 'busi'"):
        datasets("list", "bussi")
    with pytest.raises(ConfigError, match="did you mean 'busi'"):
        datasets("check", "bussi", "--data-root", ".")


def write_busi(root: Path) -> None:
    """Sixty pictures in three classes: enough that each class is in the test split that the card makes by hash."""
    for label in ("benign", "malignant", "normal"):
        folder = root / "busi" / "Dataset_BUSI_with_GT" / label
        folder.mkdir(parents=True)
        for number in range(20):
            Image.new("L", (4, 4), number).save(folder / f"{label} ({number}).png")
            Image.new("L", (4, 4)).save(folder / f"{label} ({number})_mask.png")


def write_breastmnist(root: Path) -> None:
    """Four pictures of each split."""
    (root / "breastmnist").mkdir()
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((4, 8, 8), np.uint8)
        arrays[f"{split}_labels"] = np.array([[0], [1], [0], [1]])
    np.savez(root / "breastmnist" / "breastmnist_224.npz", **arrays)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """A small part of one set."""
    write_busi(tmp_path)
    return tmp_path


def test_what_is_there_is_counted_against_the_card(data_root: Path) -> None:
    found = rows("check", "busi", "--data-root", data_root)["busi"]
    assert found["state"] == "differs"  # the card's layout is not confirmed, so neither side is wrong for sure
    assert found["note"] == "60 samples, the card says 780"
    assert sum(found["splits"].values()) == found["samples"] == 60
    shown = " ".join(datasets("check", "busi", "--data-root", data_root).stdout.split())
    assert "differs" in shown


def test_what_is_named_and_missing_fails_and_is_told_where_to_get(data_root: Path) -> None:
    found = rows("check", "busi", "mhist", "--data-root", data_root, code=2)
    assert found["mhist"]["state"] == "missing"
    assert found["mhist"]["error"] == f"no folder {data_root / 'mhist'}"
    assert "bmirds" in found["mhist"]["where"]
    assert "access: request; licence: research use form" in found["mhist"]["where"]
    shown = datasets("check", "mhist", "--data-root", data_root, code=2).stdout
    assert "mhist: bmirds.github.io/MHIST; access: request" in shown


def test_without_names_the_missing_are_no_fault(data_root: Path) -> None:
    found = rows("check", "--data-root", data_root)
    assert [name for name, row in found.items() if row["state"] != "missing"] == ["busi"]


def test_a_broken_set_is_a_fault_even_without_names(data_root: Path) -> None:
    shutil.rmtree(data_root / "busi" / "Dataset_BUSI_with_GT" / "malignant")
    found = rows("check", "--data-root", data_root, code=2)
    assert found["busi"]["state"] == "wrong"
    assert "class 'malignant' has no folder" in found["busi"]["error"]


def test_counts_that_are_confirmed_must_agree(tmp_path: Path) -> None:
    write_breastmnist(tmp_path)
    found = rows("check", "breastmnist", "--data-root", tmp_path, code=2)
    assert found["breastmnist"]["error"].startswith("train has 4 samples, the card says 546")


def test_the_cards_pass_their_own_check() -> None:
    assert json.loads(datasets("check", "--cards", "--json").stdout) == {}
    assert datasets("check", "--cards").stdout == f"{len(catalogue())} cards, 0 complaints\n"


@pytest.mark.parametrize("arguments", [(), ("--cards", "--data-root", "."), ("--cards", "--recipe", "x.toml")])
def test_one_thing_is_checked_at_a_time(arguments: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="give one of --data-root DIR, --recipe RECIPE, --cards and --card FILE"):
        datasets("check", *arguments)


def test_a_card_of_ones_own_is_checked_with_its_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    for label in ("a", "b"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "mine" / label / "x.png")
    assert datasets("check", "--card", path).stdout == "mine: zero_shot; 2 samples (test 2)\nno problems\n"
    (tmp_path / "mine/b/y.png").write_bytes(b"no picture")
    told = json.loads(datasets("check", "--card", path, "--json", code=2).stdout)["problems"]
    assert [problem.split(":")[0] for problem in told] == [str(tmp_path / "mine/b/y.png")]


RECIPE = """
name = "mine"
[curate]
sources = [{ kind = "table", path = "unused.csv" }]
[student]
model = "ViT-B-32"
[[teachers]]
name = "one"
model = "local-dir:one"
licence = "MIT"
[evaluate]
cards = ["mine.toml"]
datasets = ["busi", "mhist"]
data_root = "."
"""
MINE = """
id = "mine"
modality = "ct"
tasks = ["zero_shot"]
licence = "CC0"
[layout]
reader = "folders"
path = "mine"
[[classes]]
name = "a"
prompts = ["a"]
[[classes]]
name = "b"
prompts = ["b"]
"""


def test_a_recipe_is_asked_for_its_own_cards_and_those_of_the_catalogue(data_root: Path) -> None:
    (data_root / "recipe.toml").write_text(RECIPE)
    (data_root / "mine.toml").write_text(MINE)
    for label in ("a", "b"):
        (data_root / "mine" / label).mkdir(parents=True)
        Image.new("L", (4, 4)).save(data_root / "mine" / label / "x.png")
    recipe = ("--recipe", data_root / "recipe.toml", "--out", data_root / "out")
    found = rows("check", *recipe, code=2)
    assert {name: row["state"] for name, row in found.items()} == {
        "mine": "there",
        "busi": "differs",
        "mhist": "missing",
    }
    assert rows("check", "mine", *recipe)["mine"]["samples"] == 2
    with pytest.raises(ConfigError, match="the recipe has no data set nine"):
        datasets("check", "nine", *recipe)


def test_the_list_loads_nothing_heavy() -> None:
    code = (
        "from mmkd.commands.datasets import list_; list_(['busi'])\n"
        "import sys; print(sorted({'torch', 'open_clip', 'datasets'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
