"""`mmkd evaluate --model` and `mmkd report RUN`: models that mmkd did not train, from the command line."""

import json
import shutil
from pathlib import Path

import pytest
from colour_world import write_pairs, write_squares
from typer.testing import CliRunner, Result

from mmkd.cli import app
from mmkd.errors import ConfigError
from mmkd.inference.model import model_spec
from mmkd.teachers.zoo.settings import TeacherSpec


def mmkd(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("text", "name", "library", "model", "pretrained"),
    [
        ("hf-hub:org/Some-CLIP", "Some-CLIP", "open_clip", "hf-hub:org/Some-CLIP", None),
        ("mine=hf-hub:org/x", "mine", "open_clip", "hf-hub:org/x", None),
        ("transformers:org/clip", "clip", "transformers", "org/clip", None),
        ("ViT-B-32:laion2b_s34b_b79k", "ViT-B-32-laion2b_s34b_b79k", "open_clip", "ViT-B-32", "laion2b_s34b_b79k"),
        ("biomedclip", "biomedclip", "zoo", "biomedclip", None),
    ],
)
def test_models_as_they_are_written(text: str, name: str, library: str, model: str, pretrained: str | None) -> None:
    spec = model_spec(text)
    assert (spec.name, spec.library, spec.model, spec.pretrained) == (name, library, model, pretrained)


def test_a_folder_is_meant_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_spec("local-dir:models/ours").model == f"local-dir:{tmp_path / 'models' / 'ours'}"


@pytest.mark.parametrize("text", ["nobody", "", "ViT-B-32:"])
def test_what_is_no_model_is_refused_with_the_ways_to_write_one(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a name of .*, hf-hub:ORG/REPO"):
        model_spec(text)


def test_a_recipe_or_models_but_not_both_and_not_neither(tmp_path: Path) -> None:
    for arguments in ([], [tmp_path / "recipe.toml", "--model", "biomedclip"]):
        assert isinstance(mmkd("evaluate", *arguments).exception, ConfigError)


def test_corruptions_by_option(tmp_path: Path, tiny_teachers: list[TeacherSpec]) -> None:
    squares, out = write_squares(tmp_path / "squares", "ct", 4, seed=0), tmp_path / "out"
    fixed = ["evaluate", "--model", tiny_teachers[0].model, "--card", squares, "--out", out, "--bootstrap", 50]
    made = mmkd(*fixed, "--corruptions", "pixelate, gamma_up")
    assert made.exit_code == 0, made.exception
    rows = [json.loads(line) for line in (out / "evaluate/results.jsonl").read_text().splitlines()]
    named = {row["metric"] for row in rows if row["task"] == "robustness"}
    assert {"corrupted_accuracy", "accuracy@pixelate:5", "accuracy@gamma_up"} <= named
    page = (out / "report/index.html").read_text()
    assert "Robustness to corruptions" in page
    assert "gamma up" in page
    wrong = mmkd(*fixed, "--corruptions", "fog")
    assert isinstance(wrong.exception, ConfigError)
    assert "corruptions" in str(wrong.exception)
    refused = mmkd("evaluate", tmp_path / "recipe.toml", "--corruptions", "modality")
    assert "in a recipe set evaluate.corruptions" in str(refused.exception)


def test_models_of_others_are_evaluated_added_to_and_reported(tmp_path: Path, tiny_teachers: list[TeacherSpec]) -> None:
    squares = write_squares(tmp_path / "squares", "ct", 4, seed=0)
    pairs = write_pairs(tmp_path / "pairs", squares)
    out = tmp_path / "out"
    fixed = ["--out", out, "--bootstrap", 50, "--device", "cpu"]
    first = mmkd("evaluate", "--model", tiny_teachers[0].model, "--card", squares, *fixed)
    assert first.exit_code == 0, first.exception
    kept = {path: path.stat().st_mtime_ns for path in (out / "evaluate").rglob("*.safetensors")}
    both = ["--model", tiny_teachers[0].model, "--model", f"other={tiny_teachers[1].model}"]
    second = mmkd("evaluate", *both, "--card", squares, "--card", pairs, *fixed)
    assert second.exit_code == 0, second.exception
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    rows = [json.loads(line) for line in (out / "evaluate/results.jsonl").read_text().splitlines()]
    assert {"narrow", "other"} <= {row["model"] for row in rows}
    assert {row["dataset"] for row in rows} >= {"squares_ct", "pairs"}
    third = mmkd("evaluate", *both, "--card", squares, "--card", pairs, *fixed)
    assert "is complete, skipped" in third.stdout
    few = mmkd("evaluate", *both, "--card", squares, "--card", pairs, *fixed, "--least-groups", 500)
    assert few.exit_code == 0, few.exception
    assert "there is no mean, as no data set has the 500 groups that evaluate.least_groups asks for" in few.stdout
    assert "mean" not in {
        json.loads(row)["dataset"] for row in (out / "evaluate/results.jsonl").read_text().splitlines()
    }
    assert "groups enough for a mean" in (out / "report/index.html").read_text()
    assert str(tmp_path) not in (out / "evaluate/manifest.json").read_text()
    shutil.rmtree(out / "report")
    again = mmkd("report", out)
    assert again.exit_code == 0, again.exception
    assert "narrow" in (out / "report/index.html").read_text()


@pytest.mark.parametrize("text", ["biomedclip", "hf-hub:org/x", "mine=transformers:org/clip", "ViT-B-32:openai"])
def test_a_recipe_writes_models_in_the_same_way(text: str) -> None:
    assert TeacherSpec.model_validate(text) == model_spec(text)


def test_folders_in_a_recipe_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    read = lambda data: TeacherSpec.model_validate(data, context={"base": tmp_path})  # noqa: E731
    assert read("local-dir:models/a=b").model == f"local-dir:{tmp_path / 'models' / 'a=b'}"
    assert read("transformers:clip").model == str(tmp_path / "clip")
    assert read({"name": "t", "model": "transformers:clip"}) == read("t=transformers:clip")
    assert read("transformers:org/clip").model == "org/clip"  # no such folder: a repository of the hub
