"""The space in which clusters are found: bounded distances, teachers that count alike."""

from pathlib import Path

import numpy as np
import pytest

from feature_world import make_feature_world
from mmkd.reliability.pair_space import WAVES, Side, _side, _spread, pair_space


@pytest.fixture
def side() -> Side:
    unit_ND = np.random.default_rng(0).normal(size=(500, 12))
    return _side(unit_ND / np.linalg.norm(unit_ND, axis=1, keepdims=True), np.random.default_rng(1))


def test_products_are_a_gaussian_kernel_of_distances_in_units_of_the_spread(side: Side) -> None:
    rng = np.random.default_rng(2)
    unit_ND = rng.normal(size=(200, 12))
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    wave_ND = side.at(unit_ND, np.ones(200, dtype=bool))
    assert wave_ND.shape == (200, WAVES)
    moved_ND = unit_ND * side.factor
    squared_NN = ((moved_ND[:, None] - moved_ND[None]) ** 2).sum(axis=2)
    assert squared_NN.mean() == pytest.approx(2.0, rel=0.05)
    kernel_NN = np.exp(-0.5 * squared_NN)
    assert np.abs(wave_ND @ wave_ND.T - kernel_NN).mean() < 0.1  # 128 random features


def test_the_spread_of_a_teacher_does_not_matter(side: Side) -> None:
    near_ND = np.eye(12)[:1] + 0.01 * np.random.default_rng(3).normal(size=(500, 12))
    near_ND /= np.linalg.norm(near_ND, axis=1, keepdims=True)
    narrow = _side(near_ND, np.random.default_rng(1))
    moved_ND = near_ND * narrow.factor
    assert ((moved_ND[:, None] - moved_ND[None]) ** 2).sum(axis=2).mean() == pytest.approx(2.0, rel=0.05)


def test_rows_that_a_teacher_failed_on_say_nothing(side: Side) -> None:
    unit_ND = np.eye(12)[:2]
    assert not side.at(unit_ND, np.array([False, True]))[0].any()
    silent = _side(np.empty((0, 12)), np.random.default_rng(0))
    assert silent.factor == _side(unit_ND[[0, 0]], np.random.default_rng(0)).factor == 0.0
    assert silent.at(np.empty((0, 12)), np.empty(0, dtype=bool)).shape == (0, WAVES)


def test_one_teacher_that_tells_findings_apart_does_not_divide_a_modality_that_the_others_see_as_one(
    tmp_path: Path,
) -> None:
    """The reason for a bounded distance: a specialist's findings lie further apart than modalities do."""
    skills = {"osteology": {"bone": "right"}, "first": {}, "second": {}, "third": {}}
    world = make_feature_world(tmp_path, skills, {"bone": 600, "retina": 600})
    rows = np.arange(1200)
    at_ND = pair_space(world.features, rows, np.random.default_rng(0)).at(rows)
    bone_N = world.modality_N == "bone"
    between = at_ND[bone_N].mean(axis=0) - at_ND[~bone_N].mean(axis=0)
    along_N = at_ND @ (between / np.linalg.norm(between))
    apart = along_N[bone_N].min() - along_N[~bone_N].max()
    assert apart > 0  # no bone lies among the retinas


def test_the_spread_is_that_of_all_dimensions_at_once() -> None:
    unit_ND = np.random.default_rng(4).normal(size=(300, 150)).astype(np.float16)
    assert _spread(unit_ND) == unit_ND.astype(np.float64).var(axis=0).sum()
