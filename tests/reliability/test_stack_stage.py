"""The stage `reliability` with method "stacking": its table, its folder, missing features, and what is printed."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import DIM, FeatureWorld, make_feature_world, write_features
from mmkd.errors import ConfigError
from mmkd.folders.stage import Stage, complete
from mmkd.pipeline.recipe import load_recipe
from mmkd.pipeline.run import Run
from mmkd.pipeline.stages import reliability_settings
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.toml"
SKILLS = {
    "contrary": {"retina": "wrong"},
    "osteology": {"bone": "right"},
    "retinology": {"retina": "right"},
    "useless": {},
}


def measured(world: FeatureWorld, folder: Path, by: str = "modality", **keys: object) -> ReliabilityTable:
    settings = ReliabilitySettings.model_validate({"method": "stacking", "by": by, "bootstrap": 100, **keys})
    stage = Stage("reliability", folder, {})
    corpus, features = world.folder / "corpus", world.folder / "features"
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, world.teachers, partial, 0))
    return load_reliability(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    sizes = {"bone": 500, "retina": 400, "skin": 200}
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, sizes, labelled=True)


@pytest.fixture(scope="module")
def table(world: FeatureWorld, tmp_path_factory: pytest.TempPathFactory) -> ReliabilityTable:
    return measured(world, tmp_path_factory.mktemp("measured") / "stacked")


def test_experts_have_the_slopes_where_they_are_experts(table: ReliabilityTable) -> None:
    slope_NK = table.slopes(np.array(["bone", "retina", "skin"]))
    assert slope_NK.argmax(axis=1).tolist()[:2] == [1, 2]
    assert slope_NK[0, 1] > 5 * np.delete(slope_NK[0], 1).max()
    assert slope_NK[1, 2] > 5 * np.delete(slope_NK[1], 2).max()
    assert not slope_NK[2].any()  # nobody knows skin


def test_the_share_of_wrong_captions_is_near_that_of_the_world(table: ReliabilityTable, world: FeatureWorld) -> None:
    """Low: of six findings cosines say match or no match, and soft weights explain a part of the wrong captions."""
    for name, wrong in zip(("bone", "retina"), table.wrong_captions(np.array(["bone", "retina"])), strict=True):
        drawn_anew = 1 - world.kept_N[world.modality_N == name].mean()
        assert 0.4 * drawn_anew < wrong < 1.1 * drawn_anew
    assert table.wrong_captions(np.array(["skin"])).tolist() == [1.0]


def test_weights_are_those_of_the_stack_and_the_best_of_a_group_has_one(table: ReliabilityTable) -> None:
    for group in ("bone", "retina"):
        cells = [cell for cell in table.cells if cell.group == group]
        largest = max(cell.z_weight for cell in cells)
        assert [cell.weight for cell in cells] == [cell.z_weight / largest for cell in cells]
        for cell in cells:
            assert cell.slope_low <= cell.slope <= cell.slope_high
            assert (cell.slope > 0) == (cell.z_weight > 0)
    assert [stack.group for stack in table.stacks] == ["bone", "retina", "skin"]
    assert table.stacks[0].gain > 0.3 > abs(table.stacks[2].gain)


def test_the_rank_test_stands_beside_it(table: ReliabilityTable, world: FeatureWorld, tmp_path: Path) -> None:
    ranked = measured(world, tmp_path / "rank", method="rank")
    assert [(cell.percentile, cell.se, cell.n) for cell in ranked.cells] == [
        (cell.percentile, cell.se, cell.n) for cell in table.cells
    ]
    assert ranked.stacks == []
    assert not any(cell.slope for cell in ranked.cells)


def test_clusters_can_be_stacked(world: FeatureWorld, tmp_path: Path) -> None:
    table = measured(world, tmp_path / "clusters", by="cluster")
    best_N = table.slopes(table.groups(world.corpus)).argmax(axis=1)
    assert (best_N[world.modality_N == "bone"] == 1).mean() > 0.9
    assert (best_N[world.modality_N == "retina"] == 2).mean() > 0.9


def test_it_is_made_again_bit_by_bit(world: FeatureWorld, table: ReliabilityTable, tmp_path: Path) -> None:
    again = measured(world, tmp_path / "again")
    assert again.digest == table.digest


def test_fewer_rows_are_fitted_where_a_recipe_says_so(world: FeatureWorld, tmp_path: Path) -> None:
    table = measured(world, tmp_path / "fewer", stack_rows=150)
    assert [stack.n for stack in table.stacks] == [150, 150, 150]


def test_what_is_printed(world: FeatureWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = measured(world, tmp_path / "printed")
    out = capsys.readouterr().out
    stack = table.stacks[0]
    assert f"{stack.wrong_captions:.2f} [{stack.wrong_low:.2f}, {stack.wrong_high:.2f}]" in out
    assert f"{stack.gain:.3f}" in out
    assert f"{max(cell.z_weight for cell in table.cells if cell.group == 'bone'):.2f} [" in out
    assert "no stack of teachers is above guessing on skin (" in out


def test_missing_features_cost_the_other_teachers_nothing_or_only_those_rows(tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, {"whole": {"bone": "right"}, "part": {}}, {"bone": 300}, labelled=True)
    rows = world.corpus.rows("train")
    for lacking, counted in ((0.1, len(rows) - 27), (0.7, len(rows))):
        few = rows[: round(lacking * len(rows))]
        sides = {}
        for side in ("image", "text"):
            value_ND = np.random.default_rng(0).normal(size=(len(world.corpus), DIM))
            value_ND /= np.linalg.norm(value_ND, axis=1, keepdims=True)
            value_ND[few] = np.nan
            sides[side] = value_ND
        folder = tmp_path / f"{lacking}"
        (folder / "features").mkdir(parents=True)
        write_features(folder / "features" / "part", world.corpus, sides)
        (folder / "features" / "whole").symlink_to(world.folder / "features" / "whole")
        (folder / "corpus").symlink_to(world.folder / "corpus")
        table = measured(FeatureWorld(folder, world.modality_N, world.kept_N, ["part", "whole"]), folder / "table")
        assert table.stacks[0].n == counted
        assert table.slopes(np.array(["bone"]))[0, 1] > 0


def test_a_recipe_with_the_rank_test_keeps_the_folders_of_releases_without_the_choice(tmp_path: Path) -> None:
    ranked, stacked = (
        reliability_settings(Run(load_recipe(RECIPE, tmp_path, changes), tmp_path))
        for changes in (
            ["reliability.power=3.0", "reliability.method=rank", "distill.objective=affinity"],
            ["reliability.method=stacking"],
        )
    )
    assert ranked["power"] == 3.0
    chosen = {"method", "stack_rows", "folds", "bootstrap"}
    assert stacked.keys() - ranked.keys() == chosen
    assert not chosen & ranked.keys()


@pytest.mark.parametrize(("key", "value"), [("folds", 1), ("stack_rows", 1), ("bootstrap", 0), ("method", "stack")])
def test_values_that_make_no_sense_are_refused(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"reliability\.{key}"):
        load_recipe(RECIPE, tmp_path, [f"reliability.{key}={value}"])
