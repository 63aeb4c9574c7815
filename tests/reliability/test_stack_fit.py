"""The fit of a stack: the optimum of another optimiser, known weights, and what must not change them."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mmkd.reliability.stack_bootstrap import intervals
from mmkd.reliability.stack_fit import LEVELS, Prior, fit, weak_prior
from mmkd.reliability.stack_likelihood import (
    Block,
    blocks_of,
    guessing,
    log_likelihood,
    own_z,
    per_pair,
    right_captions,
)
from stack_world import drawn_blocks, random_sides, unit

START = 0.3


def fitted(blocks: list[Block], count: int, prior: Prior | None = None) -> np.ndarray:
    size = blocks[0].z_BBT[0].shape[-1] + 1
    return fit(blocks, np.ones(count), prior or weak_prior(size), np.full(size, START))


def share(blocks: list[Block], count: int, parameter_P: np.ndarray) -> float:
    """Of wrong captions."""
    return 1.0 - float(right_captions(own_z(blocks, count), parameter_P).mean())


@pytest.mark.parametrize(
    ("count", "weight", "wrong"),
    [(300, [1.5, 0.8, 0.0], 0.3), (40, [3.0, 0.0, 0.0], 0.0), (100, [0.0, 0.0, 0.0], 0.9), (8, [2.0, 1.0, 0.5], 0.2)],
)
def test_the_optimum_is_that_of_l_bfgs_b(count: int, weight: list[float], wrong: float) -> None:
    blocks, prior = drawn_blocks(count, weight, wrong, seed=count), weak_prior(4)

    def loss(parameter_P: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient_P, _ = per_pair(blocks, parameter_P, count).summed(np.ones(count))
        return -value - prior.value(parameter_P), -gradient_P - prior.pull(parameter_P)

    bounds = [(0.0, None)] * 3 + [LEVELS]
    options = {"ftol": 1e-14, "gtol": 1e-9}
    starts = (np.full(4, START), np.array([2.0, 2.0, 2.0, 5.0]))
    best = min(minimize(loss, start, jac=True, bounds=bounds, options=options).fun for start in starts)
    found = fitted(blocks, count)
    assert loss(found)[0] == pytest.approx(best, abs=1e-5)
    assert (found[:-1] >= 0).all()


def test_known_weights_and_the_known_share_lie_in_their_intervals() -> None:
    true = np.array([1.5, 0.8, 0.3, 0.0, 0.3])
    blocks = drawn_blocks(2_000, true[:-1].tolist(), true[-1], seed=7)
    found = fitted(blocks, 2_000)
    low, high = intervals(blocks, found, weak_prior(5), np.arange(2_000), 200, 0)
    assert (low <= true).all()
    assert (true <= high).all()
    estimate = np.append(found[:-1], share(blocks, 2_000, found))
    assert (low <= estimate).all()
    assert (estimate <= high).all()
    assert (high - low).max() < 0.35


@pytest.mark.slow
def test_intervals_are_as_wide_as_fits_of_new_worlds_scatter() -> None:
    prior, fits, widths = weak_prior(3), [], []
    for seed in range(30):
        blocks = drawn_blocks(640, [1.2, 0.5], 0.25, seed=100 + seed)
        found = fitted(blocks, 640)
        fits.append(np.append(found[:-1], share(blocks, 640, found)))
        low, high = intervals(blocks, found, prior, np.arange(640), 60, seed)
        widths.append(high - low)
    ratio = np.mean(widths, axis=0) / 3.92 / np.std(fits, axis=0)
    assert ratio.min() > 0.75
    assert ratio.max() < 1.4


def test_patients_are_drawn_together() -> None:
    once = drawn_blocks(400, [1.5, 0.5], 0.3, seed=9)
    twice = [*once, *(Block(b.row_B + 400, b.z_BBT) for b in once)]
    found, prior = fitted(twice, 800), weak_prior(3)
    apart, together = (
        np.subtract(*intervals(twice, found, prior, unit_N, 400, 0)[::-1])
        for unit_N in (np.arange(800), np.arange(800) % 400)
    )
    np.testing.assert_allclose(together / apart, 2**0.5, rtol=0.2)  # two copies say no more than one


def chosen(blocks: list[Block], teachers: list[int]) -> list[Block]:
    return [Block(b.row_B, (b.z_BBT[0][..., teachers], b.z_BBT[1][..., teachers])) for b in blocks]


def test_the_order_of_teachers_is_that_of_their_weights() -> None:
    blocks = drawn_blocks(300, [1.5, 0.8, 0.0], 0.3, seed=10)
    turned = chosen(blocks, [2, 1, 0])
    np.testing.assert_allclose(fitted(turned, 300)[[2, 1, 0, 3]], fitted(blocks, 300), atol=1e-4)


def test_equal_teachers_share_their_weight() -> None:
    blocks = drawn_blocks(300, [1.5, 0.5], 0.3, seed=11)
    twice = chosen(blocks, [0, 0, 1])
    one, two = fitted(blocks, 300), fitted(twice, 300)
    assert two[0] == pytest.approx(two[1], abs=1e-3)
    np.testing.assert_allclose([two[0] + two[1], *two[2:]], one, atol=0.01)


def test_stretched_cosines_have_a_smaller_slope_and_the_same_weight() -> None:
    sides = random_sides(200, 2, seed=12, match=0.6)
    image, text = sides[0]
    both = [blocks_of(s, np.arange(200)) for s in (sides, [(3.0 * image, text), sides[1]])]
    (plain, spread), (stretched, wider) = both
    np.testing.assert_allclose(wider / spread, [3.0, 1.0])
    np.testing.assert_allclose(fitted(stretched, 200), fitted(plain, 200), atol=1e-5)


def test_wrong_captions_alone_leave_no_gain() -> None:
    sides = random_sides(250, 2, seed=13)
    shuffled = [(image, np.roll(text, 1, axis=0)) for image, text in sides]
    blocks, _ = blocks_of(shuffled, np.random.default_rng(0).permutation(250))
    kind = Prior(np.array([2.0, 2.0, 0.0]), np.array([1e6, 1e6, 0.0]))  # teachers that are known to be good
    found = fitted(blocks, 250, kind)
    assert share(blocks, 250, found) > 0.95
    assert (log_likelihood(blocks, found, 250) - guessing(blocks, 250)).mean() < 0.01


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("match", [0.6, 1.0, 3.0])
def test_a_share_of_shuffled_unique_captions_is_found(wrong: float, match: float) -> None:
    """However sharp the teacher: where the right caption of a wrong pair is not at hand, none has to take its place."""
    (image, text), shuffled_N = random_sides(1_500, 1, seed=14, match=match)[0], np.arange(1_500) < wrong * 1_500
    text = text.copy()
    text[shuffled_N] = np.roll(text[shuffled_N], 1, axis=0)
    blocks, _ = blocks_of([(image, text)], np.random.default_rng(1).permutation(1_500))
    assert share(blocks, 1_500, fitted(blocks, 1_500)) == pytest.approx(wrong, abs=0.07)


def test_a_prior_of_great_precision_is_the_answer() -> None:
    blocks, mean = drawn_blocks(50, [2.0, 0.0], 0.1, seed=15), np.array([0.5, 0.7, 0.4])
    np.testing.assert_allclose(fitted(blocks, 50, Prior(mean, np.full(3, 1e9))), mean, atol=1e-5)


def test_a_perfect_teacher_of_few_pairs_has_a_bounded_weight() -> None:
    blocks, _ = blocks_of([(unit(np.eye(4)), unit(np.eye(4)))], np.arange(4))
    found = fitted(blocks, 4)
    assert 1.0 < found[0] < 20.0
