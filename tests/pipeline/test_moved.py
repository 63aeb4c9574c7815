"""Projects that are moved or copied with their data, and what manifests keep of paths."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mmkd.commands.options import open_run
from mmkd.folders.stage import MANIFEST, Change, read_manifest
from mmkd.pipeline.preflight import standings
from mmkd.pipeline.work import work_one

RECIPE = """
name = "mine"
machine = { device = "cpu", workers = 0 }
[[curate.sources]]
kind = "table"
path = "../data/pairs.csv"
[[curate.sources]]
kind = "folders"
path = "${CLASSES}"
[curate]
decontaminate = ["../data/classes"]
val = 0.0
[[teachers]]
name = "one"
model = "local-dir:../models/one"
[student]
model = "ViT-B-32"
[evaluate]
cards = ["card.toml"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here" / "project"
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes/my.toml").write_text(RECIPE)
    (folder / "recipes/own/a").mkdir(parents=True)
    (folder / "data/classes").mkdir(parents=True)
    monkeypatch.setenv("CLASSES", str(folder / "recipes/own"))
    for n in range(4):
        Image.effect_noise((32, 32), 40 + n).save(folder / f"data/{n}.png")
    for place in ("recipes/own/a/x.png", "data/classes/y.png"):
        Image.effect_noise((32, 32), 90).save(folder / place)
    rows = "".join(f"{n}.png,the finding number {n}\n" for n in range(4))
    (folder / "data/pairs.csv").write_text(f"image,caption\n{rows}")
    work_one(open_run(folder / "recipes/my.toml", folder / "runs/my", None), "curate")
    return folder


def of_curate(project: Path) -> tuple[str, str]:
    found = standings(open_run(project / "recipes/my.toml", project / "runs/my", None), "curate")["corpus"]
    return found.state, found.why


def test_a_manifest_has_paths_as_they_lead_there_from_the_recipe(project: Path) -> None:
    text = (project / "runs/my/corpus" / MANIFEST).read_text()
    settings = json.loads(text)["settings"]
    assert [source["path"] for source in settings["sources"]] == ["../data/pairs.csv", "own"]
    assert settings["decontaminate"] == ["../data/classes"]
    assert str(project) not in text


def test_a_moved_project_goes_on(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.move(project, moved)
    monkeypatch.setenv("CLASSES", str(moved / "recipes/own"))
    assert of_curate(moved) == ("complete", "")


def test_a_run_folder_that_is_moved_alone_goes_on(project: Path, tmp_path: Path) -> None:
    shutil.move(project / "runs/my", tmp_path / "run")
    run = open_run(project / "recipes/my.toml", tmp_path / "run", None)
    assert standings(run, "curate")["corpus"].state == "complete"


def test_another_place_is_told_with_both(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(project / "recipes/own", tmp_path / "own")
    monkeypatch.setenv("CLASSES", str(tmp_path / "own"))
    state, why = of_curate(project)
    assert state == "refused"
    assert why == f"made from other sources[1].path (was 'own', now '{tmp_path / 'own'}')"


def test_a_path_as_long_as_a_digest_is_told_whole() -> None:
    path, digest = "/".rjust(60, "/") + "data", "0123456789abcdef" * 4
    assert len(path) == len(digest)
    assert str(Change("a", path, None)) == f"a (was {path!r}, now None)"
    assert str(Change("a", digest, None)) == "a (was '0123456789a...ef', now None)"


def test_manifests_of_the_release_before_have_absolute_paths(project: Path) -> None:
    path = project / "runs/my/corpus" / MANIFEST
    manifest = json.loads(path.read_text())
    for source, place in zip(manifest["settings"]["sources"], ("data/pairs.csv", "recipes/own"), strict=True):
        source["path"] = str(project / place)
    manifest["settings"]["decontaminate"] = [str(project / "data/classes")]
    path.write_text(json.dumps(manifest))
    assert of_curate(project) == ("complete", "")


def test_a_neighbour_of_the_run_is_not_the_run(project: Path) -> None:
    run = open_run(project / "recipes/my.toml", project / "runs/my", None)
    out = project / "runs/my"
    assert run.kept({"a": [f"{out}/world", f"local-dir:{out}", f"{out}2/world", "s3://bucket/x", "a text"]}) == {
        "a": ["${out}/world", "local-dir:${out}", f"{out}2/world", "s3://bucket/x", "a text"]
    }
    assert run.plain(run.recipe.teachers[0])["model"] == "local-dir:../models/one"


def test_a_whole_project_that_is_copied_is_finished(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    shutil.copytree(recipe.parent, tmp_path / "copy")
    copy = open_run(tmp_path / "copy" / recipe.name, tmp_path / "copy/run", None)
    assert {name: str(one) for name, one in standings(copy).items() if one.state != "complete"} == {}
    for path in (tmp_path / "copy/run").rglob(MANIFEST):
        assert str(recipe.parent) not in path.read_text(), path
    for path in [*(tmp_path / "copy/run/export").rglob("*"), *(tmp_path / "copy/run/report").rglob("*")]:
        assert not path.is_file() or os.fsencode(recipe.parent) not in path.read_bytes(), path
    assert read_manifest(tmp_path / "copy/run/features/given")["settings"]["model"] == "local-dir:"
