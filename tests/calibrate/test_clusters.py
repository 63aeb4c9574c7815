"""Clusters are found without a label, and the weights within them give each pair its expert."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import FeatureWorld, make_feature_world
from mmkd.calibrate.calibrate import calibrate
from mmkd.calibrate.calibration import Calibration, load_calibration
from mmkd.calibrate.clusters import FEW, SMALLEST, find_clusters, join_small, mastery, nearest, tried_centres
from mmkd.calibrate.settings import CalibrateSettings
from mmkd.errors import DataError
from mmkd.stage import Stage, complete

SIZES = {"bone": 700, "retina": 500, "skin": 300}
SKILLS = {
    "contrary": {"bone": "right", "retina": "wrong"},
    "osteology": {"bone": "right"},
    "retinology": {"retina": "right"},
    "useless": {},
}


def blobs(sizes: list[int], distance: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(size=(size, 6)) + distance * np.eye(6)[k] for k, size in enumerate(sizes)])


def calibrated(world: FeatureWorld, settings: CalibrateSettings, folder: Path) -> Calibration:
    stage = Stage("calibration", folder, settings.model_dump(mode="json"))
    corpus, features = world.folder / "corpus", world.folder / "features"
    complete(stage, lambda partial: calibrate(settings, corpus, features, world.teachers, partial, 0))
    return load_calibration(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, SIZES)


@pytest.fixture(scope="module")
def by_cluster(world: FeatureWorld, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    return calibrated(world, CalibrateSettings(by="cluster"), tmp_path_factory.mktemp("calibrated") / "clusters")


def test_numbers_of_clusters_are_tried_up_to_the_root_of_half_the_rows() -> None:
    value = blobs([200, 150, 100, 80], 12.0)
    assert [len(one) for one in tried_centres(value, 0, 1, np.random.default_rng(0))] == [2, 3, 4, 6, 8, 12, 16]
    assert [len(one) for one in tried_centres(value, 7, 1, np.random.default_rng(0))] == [7]
    assert [len(one) for one in tried_centres(value[:5], 0, 1, np.random.default_rng(0))] == [1]  # too few to divide
    assert [len(one) for one in tried_centres(value, 4, 90, np.random.default_rng(0))] == [3]


def test_mastery_is_that_of_each_groups_best_teacher(world: FeatureWorld) -> None:
    rows = np.arange(len(world.modality_N))
    sides = [teacher.take(rows) for teacher in world.features]
    generator = np.random.default_rng(0)
    known = world.modality_N != "skin"  # nobody knows anything of skin
    inside = [(image[known], text[known], valid[known]) for image, text, valid in sides]
    assert mastery(inside, world.modality_N[known], generator) > 0.25
    assert mastery(sides, world.modality_N, generator) < mastery(inside, world.modality_N[known], generator)
    alone = [(image[~known], text[~known], valid[~known]) for image, text, valid in sides]
    assert mastery(alone, world.modality_N[~known], generator) < FEW


def test_where_nobody_knows_anything_clusters_are_few(tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, {"idle": {}, "useless": {}}, {"bone": 400})
    sides = [teacher.take(np.arange(400)) for teacher in world.features]
    assert mastery(sides, world.modality_N, np.random.default_rng(0)) < FEW
    found_N = find_clusters(world.features, np.arange(400), 400, 0, seed=0)
    assert np.bincount(found_N).min() >= SMALLEST


def test_small_clusters_join_their_neighbours_and_the_largest_comes_first() -> None:
    value = np.array([[0.0]] * 3 + [[1.0]] + [[5.0]] * 4)
    centre = join_small(value, np.array([[0.0], [1.0], [5.0]]), smallest=2)
    assert centre.tolist() == [[0.0], [5.0]]
    assert nearest(value, centre).tolist() == [0] * 4 + [1] * 4
    assert len(join_small(value, np.array([[0.0], [1.0], [5.0]]), smallest=100)) == 1


def test_the_modalities_are_found_again_without_their_names(world: FeatureWorld, by_cluster: Calibration) -> None:
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
    world: FeatureWorld, by_cluster: Calibration
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
    found = calibrated(world, CalibrateSettings(by="cluster", clusters=clusters), tmp_path / "calibration")
    weight = dict(zip(SKILLS, found.weights(found.groups(world.corpus)).T, strict=True))
    assert weight["contrary"][world.modality_N == "retina"].mean() < 0.01
    assert weight["retinology"][world.modality_N == "retina"].mean() > 0.7  # of 5, one may hold a single finding
    assert weight["useless"].mean() < 0.01


def test_by_modality_the_same_teachers_are_trusted(tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, SKILLS, SIZES, labelled=True)
    cell = {(c.group, c.teacher): c for c in calibrated(world, CalibrateSettings(), tmp_path / "calibration").cells}
    assert cell["retina", "contrary"].percentile < 0.47
    assert cell["retina", "contrary"].weight == cell["skin", "contrary"].weight == 0.0
    assert cell["retina", "retinology"].weight == 1.0
    assert cell["retina", "useless"].weight < 0.01


@pytest.mark.parametrize("few", [1, 2, 12])
def test_a_modality_of_few_pairs_trusts_nobody_by_chance(few: int, tmp_path: Path) -> None:
    world = make_feature_world(tmp_path, SKILLS, {**SIZES, "rare": few}, labelled=True, seed=few)
    found = calibrated(world, CalibrateSettings(), tmp_path / "calibration")
    weights = [cell.weight for cell in found.cells if cell.group == "rare"]
    assert len(weights) in (0, 4)  # none where its only pair was held out
    assert not any(weights)


def test_clusters_of_another_corpus_are_refused(by_cluster: Calibration, tiny_corpus: Path) -> None:
    from mmkd.corpus.schema import Corpus

    with pytest.raises(DataError, match="clusters of 1500 rows, but"):
        by_cluster.groups(Corpus(tiny_corpus))
