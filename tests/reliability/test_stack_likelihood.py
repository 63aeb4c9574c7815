"""The likelihood of a stack: a naive double loop, finite differences, and what it does not depend on."""

import math

import numpy as np
import pytest

from mmkd.reliability.stack_likelihood import (
    block_of,
    blocks_of,
    guessing,
    log_likelihood,
    own_z,
    per_pair,
    right_captions,
)
from stack_world import drawn_blocks, random_sides, unit

PARAMETER = np.array([1.2, 0.4, 0.25])  # two weights and log(1 + k)


def naive(z_NNT: np.ndarray, weight_T: np.ndarray, level: float) -> float:
    """Nats of all pairs."""
    total = 0.0
    for z in (z_NNT, z_NNT.transpose(1, 0, 2)):
        for n in range(len(z)):
            centred = z[n] - z[n].mean(axis=0)
            lifted = [math.exp(centred[m] @ weight_T) + math.expm1(level) for m in range(len(z))]
            total += math.log(lifted[n] / sum(lifted)) / 2
    return total


def test_the_likelihood_by_hand() -> None:
    # two pairs, one teacher of weight 1, z log(9) for the own and 0 for the other: centred log(3) and -log(3);
    # with k = 1 that is 3 + 1 against 1/3 + 1: p = 3/4, and the caption is right with probability 3 / (3 + 1)
    block = block_of(np.arange(2), np.array([[[math.log(9)], [0.0]], [[0.0], [math.log(9)]]]))
    parameter_P = np.array([1.0, math.log(2)])
    np.testing.assert_allclose(log_likelihood([block], parameter_P, 2), math.log(0.75))
    np.testing.assert_allclose(guessing([block], 2), math.log(0.5))
    np.testing.assert_allclose(per_pair([block], parameter_P, 2).value_N, math.log(0.75))
    np.testing.assert_allclose(right_captions(own_z([block], 2), parameter_P), 0.75)


def test_the_likelihood_is_that_of_a_double_loop() -> None:
    z_NNT = np.random.default_rng(0).normal(size=(20, 20, 2))
    value_N = log_likelihood([block_of(np.arange(20), z_NNT)], PARAMETER, 20)
    assert value_N.sum() == pytest.approx(naive(z_NNT, PARAMETER[:2], PARAMETER[2]), rel=1e-12)


def test_offsets_of_images_and_captions_change_nothing() -> None:
    rng = np.random.default_rng(1)
    z_NNT, row, column = rng.normal(size=(20, 20, 2)), rng.normal(size=(20, 1, 2)), rng.normal(size=(1, 20, 2))
    plain, by_row, by_column = (block_of(np.arange(20), z) for z in (z_NNT, z_NNT + row, z_NNT + column))
    np.testing.assert_allclose(by_row.z_BBT[0], plain.z_BBT[0], atol=1e-12)
    np.testing.assert_allclose(by_column.z_BBT[1], plain.z_BBT[1], atol=1e-12)


def test_weights_of_zero_and_a_high_level_are_guessing() -> None:
    blocks = drawn_blocks(300, [1.0, 0.5], 0.3, seed=1)
    for parameter in ([0.0, 0.0, 0.4], [2.0, 1.0, 50.0]):
        np.testing.assert_allclose(log_likelihood(blocks, np.array(parameter), 300), guessing(blocks, 300), rtol=1e-12)


@pytest.mark.parametrize("parameter", [PARAMETER, np.array([3.0, 0.0, 4.0]), np.array([0.1, 0.2, 1e-3])])
def test_derivatives_are_those_of_finite_differences(parameter: np.ndarray) -> None:
    blocks = drawn_blocks(150, [1.0, 0.5], 0.3, seed=2)
    found = per_pair(blocks, parameter, 150)
    for place, step in enumerate(np.eye(3) * 1e-5):
        up, down = (per_pair(blocks, parameter + sign * step, 150) for sign in (1, -1))
        np.testing.assert_allclose(found.gradient_NP[:, place], (up.value_N - down.value_N) / 2e-5, atol=1e-6)
        slope_NP = (up.gradient_NP - down.gradient_NP) / 2e-5
        np.testing.assert_allclose(found.hessian_NPP[:, place], slope_NP, atol=1e-5)


def test_cosines_are_divided_by_their_spread() -> None:
    sides = random_sides(300, 2, seed=4)
    blocks, spread_T = blocks_of(sides, np.random.default_rng(0).permutation(300))
    for block in blocks:
        for teacher, (image, text) in enumerate(sides):
            cosine = image[block.row_B] @ text[block.row_B].T
            forward, backward = (z[..., teacher] * spread_T[teacher] for z in block.z_BBT)
            np.testing.assert_allclose(forward, cosine - cosine.mean(axis=1, keepdims=True), atol=1e-12)
            np.testing.assert_allclose(backward, cosine.T - cosine.T.mean(axis=1, keepdims=True), atol=1e-12)
    variance_T = np.mean([z.var(axis=1).mean(axis=0) for block in blocks for z in block.z_BBT], axis=0)
    np.testing.assert_allclose(variance_T, 1.0, rtol=1e-12)


def test_blocks_hold_each_pair_once_and_are_at_most_so_large() -> None:
    blocks, _ = blocks_of(random_sides(300, 1, seed=5), np.random.default_rng(0).permutation(300))
    assert sorted(np.concatenate([block.row_B for block in blocks]).tolist()) == list(range(300))
    assert [len(block.row_B) for block in blocks] == [100, 100, 100]


def test_a_teacher_that_gives_every_pair_the_same_cosine_has_no_spread() -> None:
    same = unit(np.ones((40, 16)))
    blocks, spread_T = blocks_of([(same, same), *random_sides(40, 1, seed=6)], np.arange(40))
    assert spread_T[0] == 0.0 < spread_T[1]
    assert not any(z[..., 0].any() for z in blocks[0].z_BBT)
