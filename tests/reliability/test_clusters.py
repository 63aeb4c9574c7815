"""Clusters are found without a label, and the weights within them give each pair its expert."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_world import FeatureWorld, make_feature_world
from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures
from mmkd.folders.stage import Stage, complete
from mmkd.reliability import clusters
from mmkd.reliability.clusters import SMALLEST, NodeTest, find_clusters, join_small, joins, nearest, pruned
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability

SIZES = {"bone": 700, "retina": 500, "skin": 300}
SKILLS = {
    "contrary": {"bone": "right", "retina": "wrong"},
    "osteology": {"bone": "right"},
    "retinology": {"retina": "right"},
    "useless": {},
}


def measured(world: FeatureWorld, settings: ReliabilitySettings, folder: Path) -> ReliabilityTable:
    stage = Stage("reliability", folder, settings.model_dump(mode="json"))
    corpus, features = world.folder / "corpus", world.folder / "features"
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, world.teachers, partial, 0))
    return load_reliability(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, SIZES)


@pytest.fixture(scope="module")
def by_cluster(world: FeatureWorld, tmp_path_factory: pytest.TempPathFactory) -> ReliabilityTable:
    return measured(
        world, ReliabilitySettings(by="cluster", method="rank"), tmp_path_factory.mktemp("measured") / "clusters"
    )


def test_the_nearest_leaves_are_joined_first() -> None:
    assert joins(np.array([[0.0], [10.0], [1.0], [12.0]])) == [(0, 2), (1, 3), (4, 5)]
    assert joins(np.array([[3.0]])) == []


def test_a_part_gains_what_its_own_weights_know_beyond_those_of_the_whole() -> None:
    advantage = np.array([[0.4, 0.1], [0.2, 0.3]])
    whole = NodeTest(100, np.array([[0.0, 1.0], [0.5, 0.5]]), advantage, np.full((2, 2), 0.01))
    part = NodeTest(50, np.array([[1.0, 0.0], [1.0, 0.0]]), advantage, np.full((2, 2), 0.01))
    gain, variance = part.gain(whole)
    assert gain == pytest.approx(25 * (0.4 - 0.1) + 25 * (0.5 * 0.2 - 0.5 * 0.3))
    assert variance == pytest.approx(25**2 * (1 + 1) * 0.01 + 12.5**2 * (1 + 1) * 0.01)
    assert whole.gain(whole) == (0.0, 0.0)


def pruned_world(world: FeatureWorld, leaf_N: np.ndarray, tree: list[tuple[int, int]]) -> list[int]:
    sides = [teacher.take(np.arange(len(leaf_N))) for teacher in world.features]
    return pruned(tree, leaf_N, sides, np.random.default_rng(0)).tolist()


def test_borders_stay_between_modalities_and_go_within_them(world: FeatureWorld) -> None:
    half_N = np.random.default_rng(0).integers(2, size=len(world.modality_N))
    leaf_N = np.where(world.modality_N == "bone", half_N, 2 + half_N)
    known_N = world.modality_N != "skin"
    leaf_N = np.where(known_N, leaf_N, 4)
    bone_0, bone_1, retina_0, retina_1, skin = pruned_world(world, leaf_N, [(0, 1), (2, 3), (5, 6), (7, 4)])
    assert bone_0 == bone_1 != retina_0 == retina_1
    assert skin not in (bone_0, retina_0)  # nobody knows it: an expert of the others has nothing to say there


def test_where_nobody_knows_anything_there_is_one_cluster(tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, {"idle": {}, "useless": {}}, {"bone": 400})
    assert set(find_clusters(world.features, np.arange(400), 400, 0, seed=0)) == {0}


def test_small_clusters_join_their_neighbours() -> None:
    value = np.array([[0.0]] * 3 + [[1.0]] + [[5.0]] * 4)
    centre = join_small(value, np.array([[0.0], [1.0], [5.0]]), smallest=2)
    assert centre.tolist() == [[0.0], [5.0]]
    assert nearest(value, centre).tolist() == [0] * 4 + [1] * 4
    assert len(join_small(value, np.array([[0.0], [1.0], [5.0]]), smallest=100)) == 1


def test_the_modalities_are_found_again_without_their_names(world: FeatureWorld, by_cluster: ReliabilityTable) -> None:
    assert set(world.corpus.modalities) == {"unknown"}
    group_N = by_cluster.groups(world.corpus)
    for name in np.unique(group_N):
        inside = world.modality_N[group_N == name]
        assert (inside == inside[0]).mean() > 0.99
        assert len(inside) >= SMALLEST


def test_clusters_depend_on_the_seed_alone(world: FeatureWorld) -> None:
    rows = world.corpus.rows("train")
    once, again = (find_clusters(world.features, rows, len(world.corpus), 5, seed=3) for _ in range(2))
    assert np.array_equal(once, again)
    assert once.dtype == np.int32
    size = np.bincount(once[rows])
    assert size.argmax() == 0


def test_each_pair_gets_its_expert_and_neither_the_useless_nor_the_contrary(
    world: FeatureWorld, by_cluster: ReliabilityTable
) -> None:
    weight = dict(zip(SKILLS, by_cluster.weights(by_cluster.groups(world.corpus)).T, strict=True))
    bone, retina, skin = (world.modality_N == name for name in SIZES)
    assert weight["osteology"][bone].mean() > 0.5
    assert weight["contrary"][bone].mean() > 0.5  # as good as the other there
    assert weight["retinology"][retina].mean() > 0.99
    for name in ("osteology", "contrary", "useless"):
        assert weight[name][retina].max() < 0.01
    for name in SKILLS:
        assert weight[name][skin].mean() < 0.5  # nobody knows: at most a chance finding in some cluster
    assert weight["useless"][bone | retina].max() < 0.01


@pytest.mark.parametrize("clusters", [3, 5])
def test_a_number_of_clusters_that_is_asked_for_excludes_the_contrary_as_well(
    world: FeatureWorld, clusters: int, tmp_path: Path
) -> None:
    settings = ReliabilitySettings(by="cluster", clusters=clusters, method="rank")
    found = measured(world, settings, tmp_path / "reliability")
    weight = dict(zip(SKILLS, found.weights(found.groups(world.corpus)).T, strict=True))
    assert weight["contrary"][world.modality_N == "retina"].mean() < 0.01
    assert weight["retinology"][world.modality_N == "retina"].mean() > 0.7  # of 5, one may hold a single finding
    assert weight["useless"].mean() < 0.01


def test_by_modality_the_same_teachers_are_trusted(tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, SKILLS, SIZES, labelled=True)
    found = measured(world, ReliabilitySettings(method="rank"), tmp_path / "reliability")
    cell = {(c.group, c.teacher): c for c in found.cells}
    assert cell["retina", "contrary"].percentile < 0.47
    assert cell["retina", "contrary"].weight == cell["skin", "contrary"].weight == 0.0
    assert cell["retina", "retinology"].weight == 1.0
    assert cell["retina", "useless"].weight < 0.01


@pytest.mark.parametrize("method", ["rank", "stacking"])
@pytest.mark.parametrize("few", [1, 2, 12])
def test_a_modality_of_few_pairs_trusts_nobody_by_chance(few: int, method: str, tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, SKILLS, {**SIZES, "rare": few}, labelled=True, seed=few)
    settings = ReliabilitySettings.model_validate({"method": method, "bootstrap": 50})
    found = measured(world, settings, tmp_path / "reliability")
    weights = [cell.weight for cell in found.cells if cell.group == "rare"]
    assert len(weights) in (0, 4)  # none where its only pair was held out
    assert not any(weights)


def test_clusters_of_another_corpus_are_refused(by_cluster: ReliabilityTable, tiny_corpus: Path) -> None:
    from mmkd.corpus.schema import Corpus

    with pytest.raises(DataError, match="clusters of 1500 rows, but"):
        by_cluster.groups(Corpus(tiny_corpus))


class Counted:
    """A teacher's features that keep how many rows were asked for at once."""

    def __init__(self, inner: TeacherFeatures, asked: list[int]) -> None:
        self.inner, self.asked = inner, asked

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.asked.append(len(rows))
        return self.inner.take(rows)


def test_no_more_rows_are_held_than_the_fit_and_a_block_have(
    world: FeatureWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how large the blocks are decides nothing."""
    total = len(world.modality_N)
    monkeypatch.setattr(clusters, "FIT_ROWS", 300)
    monkeypatch.setattr(clusters, "BLOCK", 128)
    asked: list[int] = []
    counted: Any = [Counted(teacher, asked) for teacher in world.features]
    found_N = find_clusters(counted, np.arange(total), total, 3, seed=0)
    assert max(asked) == 300
    assert sum(asked) >= len(counted) * (total + 2 * 300), "the fit's rows and all rows were read"
    assert found_N.dtype == np.int32
    monkeypatch.setattr(clusters, "BLOCK", total)
    assert found_N.tolist() == find_clusters(world.features, np.arange(total), total, 3, seed=0).tolist()
