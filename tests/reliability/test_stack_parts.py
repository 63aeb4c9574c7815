"""Partial pooling: the line prior by hand, what parts take from their whole, and when."""

import numpy as np
import pytest

from mmkd.reliability.stack_fit import LEVEL_RIDGE, RIDGE, LinePrior, fit, weak_prior
from mmkd.reliability.stack_likelihood import Block, log_likelihood
from mmkd.reliability.stack_pairs import StackPairs
from mmkd.reliability.stack_parts import POOLED, Pooling, Whole, choose_pooling, fit_part, part_prior
from mmkd.reliability.stacking import first_fit, stack_groups
from stack_world import SPREAD, drawn_blocks, drawn_pairs

FOLDS = 5


def whole(weight_T: list[float]) -> Whole:
    """A whole whose weights are known, in every fold."""
    slope_T = np.array(weight_T) / SPREAD
    return Whole("ct", slope_T, np.tile(slope_T, (FOLDS, 1)))


def pooling_of(pairs: StackPairs, of: Whole) -> Pooling:
    return choose_pooling(pairs, of.slope_FT, first_fit(pairs).without_FP)


def test_the_line_prior_by_hand() -> None:
    """Weights (5, 0) lie 4 from the line through (3, 4): their part along it is 3."""
    prior, parameter_P = LinePrior(np.array([3.0, 4.0]), 2.0), np.array([5.0, 0.0, 1.0])
    weak = RIDGE * 25.0 + LEVEL_RIDGE
    assert prior.value(parameter_P) == pytest.approx(-0.5 * (2.0 * 16.0 + weak))
    # the foot on the line is (1.8, 2.4); the pull points there
    expected = [-2.0 * (5.0 - 1.8) - RIDGE * 5.0, -2.0 * (0.0 - 2.4), -LEVEL_RIDGE]
    np.testing.assert_allclose(prior.pull(parameter_P), expected)
    np.testing.assert_allclose(prior.pull(parameter_P), -prior.matrix @ parameter_P)


def test_on_the_line_only_the_weak_prior_is_left() -> None:
    parameter_P = np.array([6.0, 8.0, 0.3])
    assert LinePrior(np.array([3.0, 4.0]), 1e6).value(parameter_P) == pytest.approx(weak_prior(3).value(parameter_P))


def test_shrinkage_of_one_gaussian_likelihood_by_hand() -> None:
    """Across the line a likelihood of curvature c keeps the share c / (c + strength) of its distance."""
    prior, c, best_T = LinePrior(np.array([1.0, 1.0]), 3.0), 6.0, np.array([4.0, 2.0])
    hessian_TT = c * np.eye(2) + prior.matrix[:-1, :-1] - RIDGE * np.eye(2)
    found_T = np.linalg.solve(hessian_TT, c * best_T)
    np.testing.assert_allclose(found_T, [3.0 + 6.0 / 9.0, 3.0 - 6.0 / 9.0])


def test_a_strong_prior_leaves_sharpness_and_level_to_the_part() -> None:
    pairs, of = drawn_pairs(600, [2.0, 1.0, 0.0], 0.3, seed=1), whole([1.0, 1.0, 0.0])
    start_P = first_fit(pairs).all_P
    found_P = fit_part(pairs, np.ones(600), of.slope_T, POOLED, start_P)
    assert found_P[0] == pytest.approx(found_P[1], abs=0.05)
    assert found_P[0] > 1.2  # sharper than the whole
    one = fit([_summed(b.z_BBT, b.row_B) for b in pairs.blocks], np.ones(600), weak_prior(2), np.array([1.0, 0.5]))
    assert found_P[0] == pytest.approx(one[0], abs=0.02)
    assert found_P[-1] == pytest.approx(one[-1], abs=0.02)


def _summed(z_BBT: tuple[np.ndarray, np.ndarray], row_B: np.ndarray) -> Block:
    return Block(row_B, (z_BBT[0][..., :2].sum(-1, keepdims=True), z_BBT[1][..., :2].sum(-1, keepdims=True)))


def test_without_strength_a_part_is_fitted_alone() -> None:
    pairs, of = drawn_pairs(300, [1.5, 0.5], 0.3, seed=2), whole([0.0, 1.0])
    start_P = first_fit(pairs).all_P
    np.testing.assert_allclose(fit_part(pairs, np.ones(300), of.slope_T, 0.0, start_P), start_P, atol=1e-3)


def test_a_whole_without_a_stack_draws_nowhere() -> None:
    pairs = drawn_pairs(50, [1.5, 0.5], 0.3, seed=3)
    prior = part_prior(pairs, np.zeros(2), 10.0)
    np.testing.assert_allclose(prior.matrix, weak_prior(3).matrix)


def test_a_part_like_its_whole_is_pooled_and_another_is_not() -> None:
    alike = pooling_of(drawn_pairs(80, [1.2, 0.6, 0.2], 0.3, seed=10), whole([2.4, 1.2, 0.4]))
    assert alike.strength >= 10.0
    assert alike.held_N.sum() >= alike.pooled_N.sum()
    apart = pooling_of(drawn_pairs(250, [0.0, 1.5, 0.0], 0.3, seed=20), whole([1.5, 0.7, 0.7]))
    assert apart.strength <= 10.0
    assert apart.held_N.mean() > apart.pooled_N.mean() + 0.05


def test_pooled_parts_do_better_on_new_pairs_than_parts_alone() -> None:
    true = [1.2, 0.6, 0.2]
    parts, fresh = (
        {f"ct / {k}": drawn_pairs(50, true, 0.3, seed=30 + k) for k in range(5)},
        drawn_blocks(1_000, true, 0.3, seed=4),
    )
    of, more = whole(true), []
    for pairs in parts.values():
        alone_P = first_fit(pairs).all_P
        pooled_P = fit_part(pairs, np.ones(50), of.slope_T, POOLED, alone_P)
        more.append((log_likelihood(fresh, pooled_P, 1_000) - log_likelihood(fresh, alone_P, 1_000)).mean())
    assert np.mean(more) > 0


def test_stacks_of_parts_name_their_whole_and_its_gain() -> None:
    parts = {
        "ct / 1": drawn_pairs(300, [0.0, 1.5], 0.3, seed=40),
        "ct / 2": drawn_pairs(300, [1.5, 0.0], 0.3, seed=41),
        "oct": drawn_pairs(200, [1.0, 1.0], 0.3, seed=42),
    }
    wholes = dict.fromkeys(["ct / 1", "ct / 2"], whole([0.8, 0.8]))
    found, strengths = stack_groups(parts, 2.0, "holm", 30, dict.fromkeys(parts, 0), wholes)
    assert [found[name].whole for name in parts] == ["ct", "ct", ""]
    assert found["ct / 1"].gain > found["ct / 1"].gain_whole + 0.05
    assert found["oct"].gain_whole == 0.0
    assert set(strengths.parts) == {"ct / 1", "ct / 2"}
    assert max(strengths.parts.values()) <= 10.0
    np.testing.assert_allclose(found["ct / 1"].weight_T, [0.0, 1.5], atol=0.4)
    np.testing.assert_allclose(found["ct / 2"].weight_T, [1.5, 0.0], atol=0.4)


def test_a_part_of_one_patient_keeps_the_ratio_of_its_whole_and_passes_with_the_others() -> None:
    lonely = drawn_pairs(40, [1.5, 0.0], 0.2, seed=43)
    lonely = StackPairs(lonely.blocks, lonely.spread_T, np.zeros(40, dtype=np.int64), np.zeros(40, dtype=np.int64))
    parts = {"ct / 1": lonely, "ct / 2": drawn_pairs(300, [1.5, 0.0], 0.3, seed=44)}
    wholes = dict.fromkeys(parts, whole([1.0, 0.5]))
    found, strengths = stack_groups(parts, 2.0, "holm", 20, dict.fromkeys(parts, 0), wholes)
    assert strengths.parts["ct / 1"] == POOLED
    weight_T = found["ct / 1"].weight_T
    assert weight_T[0] / weight_T[1] == pytest.approx(2.0, rel=0.05)
    assert found["ct / 2"].weight_T.argmax() == 0


def test_parts_that_are_not_above_guessing_together_have_no_stack() -> None:
    parts = {f"ct / {k}": drawn_pairs(150, [0.0, 0.0], 0.0, seed=50 + k) for k in range(2)}
    found, _ = stack_groups(parts, 2.0, "holm", 20, dict.fromkeys(parts, 0), dict.fromkeys(parts, whole([1.0, 1.0])))
    assert not any(stack.weight_T.any() for stack in found.values())
