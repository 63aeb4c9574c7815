"""Keys of the release before: read with a line that gives their new name, in recipes, variants, options, manifests."""

import json
from pathlib import Path

import pytest
from recipes_of_tests import MINIMAL

from mmkd.ablate.settings import load_ablation
from mmkd.errors import ConfigError
from mmkd.folders.stage import MANIFEST, Stage, complete
from mmkd.pipeline.recipe import Recipe, load_recipe
from mmkd.renamed import RENAMED, key_with_new_names, with_new_names

LINE = "calibrate is now called reliability"


@pytest.fixture
def rival_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RENAMED, ("distill", "rounds"), "epochs")


def read(folder: Path, text: str, *changes: str) -> Recipe:
    (folder / "recipe.toml").write_text(text)
    return load_recipe(folder / "recipe.toml", folder / "out", changes)


def test_a_recipe_with_old_keys_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read(tmp_path, MINIMAL + '[calibrate]\nby = "cluster"\n')
    assert recipe.reliability.by == "cluster"
    assert capsys.readouterr().err.count(LINE) == 1
    assert read(tmp_path, MINIMAL, "calibrate.by=cluster") == recipe
    assert capsys.readouterr().err.count(LINE) == 1
    assert read(tmp_path, MINIMAL + '[reliability]\nby = "modality"\n', "calibrate.by=cluster") == recipe
    over = load_recipe(tmp_path / "recipe.toml", tmp_path / "out", over={"calibrate": {"by": "cluster"}})
    assert over == recipe
    capsys.readouterr()
    read(tmp_path, MINIMAL + '[reliability]\nby = "cluster"\n')
    assert capsys.readouterr().err == ""


def test_a_key_under_both_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown key 'calibrate'"):
        read(tmp_path, MINIMAL + "[calibrate]\n[reliability]\n")


@pytest.mark.usefixtures("rival_key")
def test_rivals_have_the_keys_of_distill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = read(tmp_path, MINIMAL + "[rivals.short]\nrounds = 2\n")
    assert (recipe.distill.epochs, recipe.rivals["short"].epochs) == (7, 2)
    assert "rounds is now called epochs" in capsys.readouterr().err


def test_an_ablation_with_old_keys_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        'recipe = "r.toml"\n[common]\ncalibrate.by = "cluster"\n[variants.a]\nabout = "b"\ncalibrate.by = "modality"\n'
    )
    (tmp_path / "ablation.toml").write_text(text)
    ablation = load_ablation(tmp_path / "ablation.toml")
    assert ablation.common == {"reliability": {"by": "cluster"}}
    assert ablation.variants["a"].changes == {"reliability": {"by": "modality"}}
    assert capsys.readouterr().err.count(LINE) == 2


def test_a_dotted_key_is_followed() -> None:
    assert key_with_new_names(["calibrate", "by"]) == ["reliability", "by"]
    assert key_with_new_names(["distill", "calibrate", "x"]) == ["distill", "calibrate", "x"]
    assert key_with_new_names(["seed"]) == ["seed"]


@pytest.mark.usefixtures("rival_key")
def test_a_folder_of_the_release_before_is_still_finished(tmp_path: Path) -> None:
    """The names of its settings and of its inputs have changed; what it was made from has not."""
    old = Stage("student", tmp_path / "distill", {"rounds": 3, "seed": 0}, {"calibration": "x", "corpus": "y"})
    made = complete(old, lambda folder: {})
    inputs = {"reliability": "x", "corpus": "y"}
    assert complete(Stage("student", old.folder, {"epochs": 3, "seed": 0}, inputs), lambda folder: {}) == made
    assert json.loads((old.folder / MANIFEST).read_text()) == made
    with pytest.raises(ConfigError, match=r"other epochs \(was 3, now 4\)"):
        complete(Stage("student", old.folder, {"epochs": 4, "seed": 0}, inputs), lambda folder: {})


def test_every_new_name_is_known_and_no_old_one_is() -> None:
    for (table, old), new in RENAMED.items():
        assert with_new_names({old: 1}, table) == {new: 1}
        assert (table, new) not in RENAMED  # no name leads on to another
