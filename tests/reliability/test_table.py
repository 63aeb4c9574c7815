"""The folder of the stage `reliability`: what was saved is loaded, and rows get the numbers of their groups."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mmkd.folders.stage import Stage, complete
from mmkd.reliability.table import (
    GroupReliability,
    GroupStack,
    ReliabilityTable,
    TeacherGeometry,
    load_reliability,
    save_reliability,
)

TABLE = ReliabilityTable(
    teachers=[
        TeacherGeometry(name, 2, "MIT", 10.0, 0.5, 0.6, np.array([0.5, 0.0]), np.array([0.0, 0.5]))
        for name in ("a", "b")
    ],
    cells=[
        GroupReliability("ct", "a", 40, 0.9, 0.01, 1.0, slope=12.5, slope_low=10.0, slope_high=14.0, z_weight=2.0),
        GroupReliability("ct", "b", 40, 0.6, 0.02, 0.25, slope=3.0, slope_low=0.0, slope_high=5.0, z_weight=0.5),
        GroupReliability("oct", "a", 30, 0.5, 0.03, 0.0),
        GroupReliability("oct", "b", 30, 0.8, 0.03, 1.0, slope=7.0, slope_low=6.0, slope_high=8.0, z_weight=1.0),
    ],
    stacks=[GroupStack("ct", 40, 0.3, 0.2, 0.4, 0.9, 0.8), GroupStack("oct", 30, 0.1, 0.0, 0.2, 0.5, 0.5)],
)


def saved(table: ReliabilityTable, folder: Path) -> Path:
    stage = Stage("reliability", folder, {})
    complete(stage, lambda partial: save_reliability(table, partial) or {})
    return stage.folder


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    found = load_reliability(saved(TABLE, tmp_path / "reliability"))
    assert found.cells == TABLE.cells
    assert found.stacks == TABLE.stacks


def test_rows_get_the_slopes_and_wrong_captions_of_their_group_and_unknown_ones_none() -> None:
    group_N = np.array(["oct", "ct", "mri", "ct"])
    slope_NK = TABLE.slopes(group_N)
    assert slope_NK.dtype == np.float32
    assert slope_NK.tolist() == [[0.0, 7.0], [12.5, 3.0], [0.0, 0.0], [12.5, 3.0]]
    np.testing.assert_allclose(TABLE.wrong_captions(group_N), [0.1, 0.3, 1.0, 0.3])


def test_a_folder_of_a_release_without_stacks_still_loads(tmp_path: Path) -> None:
    old = ("group", "teacher", "n", "percentile", "se", "weight")

    def body(partial: Path) -> dict[str, int]:
        save_reliability(TABLE, partial)
        table = json.loads((partial / "reliability.json").read_text())
        del table["stacks"]
        table["reliability"] = [{key: cell[key] for key in old} for cell in table["reliability"]]
        (partial / "reliability.json").write_text(json.dumps(table))
        return {}

    complete(Stage("reliability", tmp_path / "old", {}), body)
    found = load_reliability(tmp_path / "old")
    assert found.stacks == []
    assert [asdict(cell)["weight"] for cell in found.cells] == pytest.approx([1.0, 0.25, 0.0, 1.0])
    assert not found.slopes(np.array(["ct", "oct"])).any()
    assert (found.wrong_captions(np.array(["ct", "oct"])) == 1.0).all()
