"""Modalities divided into parts: a planted world of two organs, what must not be divided, and cells of captions."""

import numpy as np
import pytest

from mmkd.reliability.caption_cells import CaptionCells, Metric, find_cells, metric_of
from mmkd.reliability.nest import Parts, parts_of
from mmkd.reliability.nest_tree import NestPairs, NestTree, whole_of
from mmkd.reliability.stack_pairs import folds_of
from mmkd.reliability.stacking import Stack, stack_groups
from nest_world import TEACHERS, TwoOrgans, two_organs

COUNT = 600


def found_parts(world: TwoOrgans, unit_N: np.ndarray | None = None) -> Parts | None:
    unit_N = np.arange(len(world.organ_N)) if unit_N is None else unit_N
    return parts_of("ct", TEACHERS, world.sides, unit_N, 5, 2_048, np.random.default_rng(0))


@pytest.fixture(scope="module")
def world() -> TwoOrgans:
    return two_organs(COUNT)


@pytest.fixture(scope="module")
def parts(world: TwoOrgans) -> Parts:
    found = found_parts(world)
    assert found is not None
    return found


def stacks_of(parts: Parts) -> dict[str, Stack]:
    seeds, wholes = dict.fromkeys(parts.pairs, 0), dict.fromkeys(parts.pairs, parts.whole)
    return stack_groups(parts.pairs, 2.0, "holm", 20, seeds, wholes)[0]


def test_each_organ_is_a_part(world: TwoOrgans, parts: Parts) -> None:
    of_N = parts.cells.part_of(world.texts)
    assert parts.cells.parts == ["ct / 1", "ct / 2"]
    for organ in (0, 1):
        name_P, count_P = np.unique(of_N[world.organ_N == organ], return_counts=True)
        assert count_P.max() / count_P.sum() > 0.98, name_P
    assert sum(pairs.count for pairs in parts.pairs.values()) == COUNT


def test_the_flat_stack_believes_the_generalist_and_the_nested_one_the_specialist(
    world: TwoOrgans, parts: Parts
) -> None:
    """The planted failure: the flat stack gives most to the one who knows no finding."""
    spread_T = parts.whole.slope_T * np.array([image.std() for image, _ in world.sides])
    assert spread_T.argmax() == 0
    for name, stack in stacks_of(parts).items():
        organ = round(world.organ_N[parts.cells.part_of(world.texts) == name].mean())
        assert stack.weight_T.argmax() == 1 + organ
        assert stack.weight_T.max() > 5 * np.delete(stack.weight_T, 1 + organ).max()
        assert stack.gain > stack.gain_whole


def test_findings_are_told_better_by_the_nested_stack(world: TwoOrgans, parts: Parts) -> None:
    """On new pairs: how often a caption of the picture's own finding is the likeliest among those of the organ."""
    fresh, stacks = two_organs(COUNT, wrong=0.0, seed=1), stacks_of(parts)
    of_N = parts.cells.part_of(fresh.texts)
    flat, nested = (
        np.mean([_right(fresh, np.flatnonzero(of_N == name), slope_T) for name, slope_T in slopes.items()])
        for slopes in (dict.fromkeys(stacks, parts.whole.slope_T), {k: one.slope_T for k, one in stacks.items()})
    )
    assert 1 - nested < 0.75 * (1 - flat)


def _right(world: TwoOrgans, rows: np.ndarray, slope_T: np.ndarray) -> float:
    logit_NN = sum(s * image[rows] @ text[rows].T for s, (image, text) in zip(slope_T, world.sides, strict=True))
    return float((world.finding_N[rows][np.argmax(logit_NN, axis=1)] == world.finding_N[rows]).mean())


def test_a_modality_whose_parts_have_one_expert_stays_whole() -> None:
    assert found_parts(two_organs(COUNT, equal=True)) is None


def test_a_modality_of_one_organ_stays_whole(world: TwoOrgans) -> None:
    rows = np.flatnonzero(world.organ_N == 0)
    sides = [(image[rows], text[rows]) for image, text in world.sides]
    assert found_parts(TwoOrgans(sides, world.organ_N[rows], world.finding_N[rows], world.named_N[rows])) is None


def test_a_modality_that_nobody_knows_or_of_one_patient_stays_whole(world: TwoOrgans) -> None:
    rng = np.random.default_rng(3)
    noise = [(rng.permutation(image), text) for image, text in world.sides]
    assert found_parts(TwoOrgans(noise, world.organ_N, world.finding_N, world.named_N)) is None
    assert found_parts(world, np.zeros(COUNT)) is None


def test_parts_are_found_again_bit_by_bit(world: TwoOrgans, parts: Parts) -> None:
    again = found_parts(world)
    assert again is not None
    assert again.cells.part_C == parts.cells.part_C
    assert again.cells.centre_CD.tolist() == parts.cells.centre_CD.tolist()
    assert all((again.pairs[name].fold_N == pairs.fold_N).all() for name, pairs in parts.pairs.items())


def test_folds_cut_no_patient_in_any_part(world: TwoOrgans) -> None:
    found = found_parts(world, np.arange(COUNT) // 7)
    assert found is not None
    for pairs in found.pairs.values():
        for unit in range(int(pairs.unit_N.max()) + 1):
            assert len(set(pairs.fold_N[pairs.unit_N == unit].tolist())) == 1


def test_pictures_of_one_organ_are_hardly_taken_for_the_other_and_those_of_a_finding_are(world: TwoOrgans) -> None:
    fold_N = folds_of(np.arange(COUNT), 3, np.random.default_rng(0))
    pairs = NestPairs(world.sides, np.arange(COUNT), fold_N)
    whole = whole_of("ct", pairs.at(np.arange(COUNT), np.random.default_rng(0)), 3)
    tests = NestTree(pairs, whole, 2 * world.organ_N + (world.named_N > 1), np.random.default_rng(0))
    assert tests.mixed((0, 1), (0, 1, 2, 3)) < 0.05
    assert tests.mixed((0,), (0, 1)) > 0.1


def test_the_metric_by_hand() -> None:
    """Teacher a counts four times as much as b, and c not at all; a missing vector lies at the mean."""
    vectors = {
        "a": np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]),
        "b": np.array([[0.6, 0.8], [0.6, 0.8], [0.6, 0.8]]),
        "c": np.array([[1.0], [1.0], [1.0]]),
    }
    metric = metric_of({"a": 4.0, "b": 1.0, "c": 0.0}, vectors)
    np.testing.assert_allclose(metric.means["a"], [0.5, 0.5])
    np.testing.assert_allclose(metric.at(vectors)[:, :2], [[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(metric.at(vectors)[:, 2:], 0.0, atol=1e-6)
    assert metric.at(vectors).shape == (3, 4)


def test_texts_belong_to_the_part_of_the_nearest_cell() -> None:
    metric = Metric({"a": 1.0}, {"a": np.zeros(2)})
    cells = CaptionCells(metric, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), ("ct / 2", "ct / 1", "ct / 2"))
    texts = {"a": np.array([[0.9, 0.1], [-0.9, 0.1], [0.8, 0.6], [0.1, 0.99]])}
    assert cells.part_of(texts).tolist() == ["ct / 2", "ct / 2", "ct / 2", "ct / 1"]
    assert cells.shares(texts) == {"ct / 2": 0.75, "ct / 1": 0.25}


def test_there_are_no_more_cells_than_captions_and_no_small_ones() -> None:
    value_ND = np.repeat(np.array([[0.0], [1.0], [5.0], [9.0]]), [30, 30, 30, 3], axis=0)
    centre_CD = find_cells(value_ND, 16, 20, np.random.default_rng(0))
    assert sorted(centre_CD[:, 0].round(6).tolist()) == [0.0, 1.0, 5.0]
