"""The stage on slides: what it leaves for the report and for other tools, and that it reads its own bags."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from colour_world import MACHINE, ColourModel, write_squares
from PIL import Image

from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.format.results import read_results
from mmkd.evaluation.leakage.matches import read_matches
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.slides.bags import read_bag
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.teachers.zoo.settings import TeacherSpec

CARD = """
id = "{name}"
modality = "histopathology"
tasks = ["diagnosis"]
licence = "CC0"
[layout]
reader = "slides"
path = "slides.jsonl"
{more}
[[classes]]
name = "red"
[[classes]]
name = "blue"
"""
STUDENT = TeacherSpec(name="student", model="colours:0.05")


@pytest.fixture
def slides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve slides of four squares: two of their own colour, two green ones; two slides a patient."""
    monkeypatch.setattr("mmkd.evaluation.models.encoders.load_teacher", ColourModel)
    write_squares(tmp_path / "squares", "ct", 24, seed=0)
    rows = []
    for n in range(12):
        colour = ("red", "blue")[n // 2 % 2]
        tiles = [f"squares/test/{name}/{2 * n + k:03d}.png" for name in (colour, "green") for k in (0, 1)]
        rows.append({"id": f"s{n:02d}", "label": colour, "group": f"p{n // 2}", "tiles": tiles})
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "slides.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "tiles.toml").write_text(CARD.format(name="tiled", more='images = ".."'))
    return folder


def settings_of(card: Path, **more: object) -> EvaluateSettings:
    slides = {"folds": 2, "epochs": 5, "hidden": 4}
    return EvaluateSettings.model_validate({"cards": [card], "bootstrap": 50, "nulls": [], "slides": slides, **more})


def run(settings: EvaluateSettings, out: Path) -> None:
    evaluate(settings, open_data_sets(settings), [STUDENT], [], out, MACHINE, seed=0)


def test_slides_leave_heat_maps_cards_and_an_audit(slides: Path, tmp_path: Path) -> None:
    run(settings_of(slides / "tiles.toml"), tmp_path / "out")
    drawn = sorted(path.name for path in (tmp_path / "out/heat_maps").iterdir())
    assert drawn == ["tiled-s00.png", "tiled-s01.png", "tiled-s02.png", "tiled-s03.png"]
    assert Image.open(tmp_path / "out/heat_maps/tiled-s00.png").width > 100
    told = json.loads((tmp_path / "out/cards.jsonl").read_text())
    assert (told["id"], told["found"]) == ("tiled", {"test": 12})
    assert "layout" not in told
    assert read_matches(tmp_path / "out") == []
    assert not (tmp_path / "out/bags").exists()


def test_bags_hold_the_model_s_vectors_and_are_read_as_a_predictor(slides: Path, tmp_path: Path) -> None:
    run(settings_of(slides / "tiles.toml", bags=True), tmp_path / "out")
    bag = read_bag(tmp_path / "out/bags/tiled/student/s03.h5")
    stored = read_embeddings(embeddings_path(tmp_path / "out", "tiled", "student"))
    np.testing.assert_array_equal(bag.feature_ND, stored.image_ID[12:16])
    shutil.copytree(tmp_path / "out/bags/tiled/student", slides / "ready")
    table = (slides / "slides.jsonl").read_text().splitlines()
    rows = [{name: value for name, value in json.loads(line).items() if name != "tiles"} for line in table]
    (slides / "slides.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (slides / "bags.toml").write_text(CARD.format(name="tiled", more='bags = { student = "ready/{id}.h5" }'))
    run(settings_of(slides / "bags.toml"), tmp_path / "again")
    found = {row.metric: row.value for row in read_results(tmp_path / "again") if row.model == "bag:student"}
    first = {row.metric: row.value for row in read_results(tmp_path / "out") if row.model == "student"}
    assert found["mean_pooling_accuracy"] == first["mean_pooling_accuracy"]
