"""The likelihood of a stack: a naive double loop, finite differences, and what it does not depend on."""

import math

import numpy as np
import pytest

from mmkd.reliability.stack_likelihood import Block, blocks_of, guessing, log_likelihood, per_pair
from stack_world import drawn_blocks, random_sides, unit

PARAMETER = np.array([1.2, 0.4, 0.25])


def naive(z_NNT: np.ndarray, weight_T: np.ndarray, wrong: float) -> float:
    """Nats of all pairs."""
    total = 0.0
    for z in (z_NNT, z_NNT.transpose(1, 0, 2)):
        for n in range(len(z)):
            right = math.exp(z[n, n] @ weight_T) / sum(math.exp(z[n, m] @ weight_T) for m in range(len(z)))
            total += math.log((1 - wrong) * right + wrong / len(z)) / 2
    return total


def test_the_likelihood_by_hand() -> None:
    # two pairs, one teacher of weight 1, own z log(3), others 0: softmax 3/4; e = .2 gives .8 * .75 + .2 / 2 = .7
    block = Block(np.arange(2), np.array([[[math.log(3)], [0.0]], [[0.0], [math.log(3)]]]))
    np.testing.assert_allclose(log_likelihood([block], np.array([1.0, 0.2]), 2), math.log(0.7))
    np.testing.assert_allclose(guessing([block], 2), math.log(0.5))
    np.testing.assert_allclose(per_pair([block], np.array([1.0, 0.2]), 2).value_N, math.log(0.7))


def test_the_likelihood_is_that_of_a_double_loop() -> None:
    blocks = drawn_blocks(20, [1.0, 0.5], 0.3, seed=0)
    value_N = log_likelihood(blocks, PARAMETER, 20)
    assert value_N.sum() == pytest.approx(naive(blocks[0].z_BBT, PARAMETER[:2], 0.25), rel=1e-12)


def test_weights_of_zero_and_a_share_of_one_are_guessing() -> None:
    blocks = drawn_blocks(300, [1.0, 0.5], 0.3, seed=1)
    for parameter in ([0.0, 0.0, 0.4], [2.0, 1.0, 1.0]):
        np.testing.assert_allclose(log_likelihood(blocks, np.array(parameter), 300), guessing(blocks, 300), rtol=1e-12)


@pytest.mark.parametrize("parameter", [PARAMETER, np.array([3.0, 0.0, 0.9]), np.array([0.1, 0.2, 0.01])])
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
            z = block.z_BBT[..., teacher]
            np.testing.assert_allclose(z * spread_T[teacher] + cosine.mean(), cosine, atol=1e-12)
    within = np.mean([[b.z_BBT.var(axis=axis).mean(axis=0) for b in blocks] for axis in (0, 1)], axis=(0, 1))
    np.testing.assert_allclose(within, 1.0, rtol=1e-12)


def test_blocks_hold_each_pair_once_and_are_at_most_so_large() -> None:
    blocks, _ = blocks_of(random_sides(300, 1, seed=5), np.random.default_rng(0).permutation(300))
    assert sorted(np.concatenate([block.row_B for block in blocks]).tolist()) == list(range(300))
    assert [len(block.row_B) for block in blocks] == [100, 100, 100]


def test_a_teacher_that_gives_every_pair_the_same_cosine_has_no_spread() -> None:
    same = unit(np.ones((40, 16)))
    blocks, spread_T = blocks_of([(same, same), *random_sides(40, 1, seed=6)], np.arange(40))
    assert spread_T[0] == 0.0 < spread_T[1]
    assert not blocks[0].z_BBT[..., 0].any()
