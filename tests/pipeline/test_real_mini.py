"""The recipe for real material: every pair is accounted for, every card is there, held-out patients stay held out."""

from pathlib import Path

import pytest

from mmkd.corpus.schema import Corpus, split_of
from mmkd.evaluation.data_sets.inspect import describe
from mmkd.evaluation.tasks.table import TASKS
from mmkd.folders.stage import read_manifest
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES

pytestmark = pytest.mark.slow
RECIPE = Path(__file__).parents[2] / "recipes" / "real-mini.toml"


@pytest.fixture(scope="module")
def run(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("real")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKD_REALDATA", str(realdata.resolve()))
        made = Run(load_recipe(RECIPE, out, ["machine.workers=0"]), out)
    STAGES["curate"].work(made)
    return made


def test_all_pairs_and_training_images_arrive(run: Run) -> None:
    counts = read_manifest(run.out / "corpus")["counts"]
    assert counts["read"] == counts["kept"] == 1223 + 626
    corpus = Corpus(run.out / "corpus")
    assert corpus.column("source").count("pairs") == 1223
    assert set(corpus.modalities) >= {"x-ray", "ct", "mri", "oct", "fundus", "ultrasound", "endoscopy", "dermatology"}
    assert "unknown" not in set(corpus.modalities)


def test_patients_are_on_one_side_here_and_for_every_specialist(run: Run) -> None:
    corpus = Corpus(run.out / "corpus")
    split = dict(zip(corpus.column("group"), corpus.column("split"), strict=True))
    assert all(split[group] == side for group, side in zip(corpus.column("group"), corpus.column("split"), strict=True))
    for specialist in run.recipe.specialists:  # the same share and seed: what the student holds out, they hold out
        assert all(split_of(group, specialist.curate.val, run.recipe.seed) == side for group, side in split.items())


def test_every_card_of_the_recipe_is_there(run: Run, realdata: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKD_REALDATA", str(realdata.resolve()))
    rows = {row["id"]: row for row in describe(run.recipe.evaluate)}
    assert [row for row in rows.values() if "error" in row] == []
    assert len(rows) == 16
    assert rows["oct_retina"]["samples"] == 200
    assert rows["vqa_rad"]["samples"] == 3064 + 451
    asked = {name for name, task in TASKS.items() if not task.derived_from}
    assert {task for row in rows.values() for task in row["tasks"]} == asked
    assert rows["held_out_pairs"]["samples"] == read_manifest(run.out / "corpus")["counts"]["val"]
