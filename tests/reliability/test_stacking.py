"""Stacks of several groups: folds that cut no patient, what small groups take from others, and groups without one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.reliability.stack_likelihood import Block, guessing, log_likelihood
from mmkd.reliability.stack_pairs import StackPairs, folds_of, stack_pairs, variance_of_mean
from mmkd.reliability.stacking import Stack, Strengths, common_prior, first_fit, stack_groups, standard_errors
from stack_world import SPREAD, drawn_blocks, drawn_pairs, random_sides


def stacks(groups: dict[str, StackPairs], replicates: int = 50) -> tuple[dict[str, Stack], Strengths]:
    return stack_groups(groups, 2.0, "holm", replicates, dict.fromkeys(groups, 0))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=200), st.integers(2, 8))
def test_folds_cut_no_patient_and_hold_about_as_many_pairs(units: list[int], folds: int) -> None:
    _, unit_N = np.unique(units, return_inverse=True)
    fold_N = folds_of(unit_N, folds, np.random.default_rng(0))
    patients = unit_N.max() + 1
    if patients == 1:
        assert (fold_N == -1).all()
        return
    assert all(len(set(fold_N[unit_N == unit].tolist())) == 1 for unit in range(patients))
    size_F = np.bincount(fold_N)
    assert len(size_F) == min(folds, patients)
    assert size_F.max() - size_F.min() <= np.bincount(unit_N).max()


def test_the_stack_is_better_than_its_best_teacher_and_finds_who_knows_what() -> None:
    groups = {
        "both": drawn_pairs(600, [1.2, 1.0, 0.0], 0.3, seed=0),
        "first": drawn_pairs(400, [1.8, 0.0, 0.0], 0.2, seed=1, of_unit=4),
    }
    found, _ = stacks(groups)
    both, first = found["both"], found["first"]
    assert both.gain > both.gain_best + 0.1
    np.testing.assert_allclose(both.weight_T, [1.2, 1.0, 0.0], atol=0.25)
    np.testing.assert_allclose(first.weight_T, [1.8, 0.0, 0.0], atol=0.3)
    np.testing.assert_allclose(both.slope_T, both.weight_T / SPREAD)
    assert both.wrong == pytest.approx(0.3, abs=0.08)
    assert (both.low_P[:-1] <= both.slope_T).all()
    assert (both.slope_T <= both.high_P[:-1]).all()
    assert both.low_P[-1] <= both.wrong <= both.high_P[-1]


def test_groups_in_which_nobody_knows_anything_have_no_stack() -> None:
    groups = {
        "known": drawn_pairs(300, [1.5, 0.5], 0.2, seed=2),
        **{f"unknown {k}": drawn_pairs(150, [0.0, 0.0], 0.0, seed=30 + k) for k in range(6)},
    }
    found, _ = stacks(groups)
    assert found["known"].gain > 0.5
    for k in range(6):
        none = found[f"unknown {k}"]
        assert not none.weight_T.any()
        assert not none.slope_T.any()
        assert none.wrong == 1.0
        assert abs(none.gain) < 0.1


def test_what_held_out_pairs_gain_is_what_new_pairs_gain() -> None:
    found, _ = stacks({"ct": drawn_pairs(600, [1.2, 0.8], 0.3, seed=3)})
    stack, fresh = found["ct"], drawn_blocks(2_000, [1.2, 0.8], 0.3, seed=4)
    gain = log_likelihood(fresh, np.append(stack.weight_T, stack.wrong), 2_000) - guessing(fresh, 2_000)
    assert stack.gain == pytest.approx(gain.mean(), abs=0.15)


def test_small_groups_are_drawn_towards_the_others_where_that_helps() -> None:
    """With one truth for all groups, the fit of a small group alone is worse on new pairs than the drawn one."""
    true, sizes = [1.2, 0.6, 0.0], [15, 15, 20, 25, 400, 400]
    groups = {f"g{k}": drawn_pairs(size, true, 0.3, seed=40 + k) for k, size in enumerate(sizes)}
    found, strength = stacks(groups)
    assert strength.groups > 0
    assert not strength.parts
    fresh = drawn_blocks(1_000, true, 0.3, seed=5)
    alone, drawn = [], []
    for name in ("g0", "g1", "g2", "g3"):
        alone.append(log_likelihood(fresh, first_fit(groups[name]).all_P, 1_000).mean())
        drawn.append(log_likelihood(fresh, np.append(found[name].weight_T, found[name].wrong), 1_000).mean())
    kept = [k for k, name in enumerate(("g0", "g1", "g2", "g3")) if found[name].weight_T.any()]
    assert kept
    assert np.mean([drawn[k] - alone[k] for k in kept]) > 0


def test_the_common_prior_by_hand() -> None:
    prior = common_prior(np.array([[1.0, 0.2], [4.0, 0.5]]), np.array([200, 100]), 2.0)
    np.testing.assert_allclose(prior.mean_P, [2.0, 0.3])
    np.testing.assert_allclose(prior.precision_P, 2.0)
    none = common_prior(np.array([[1.0, 0.2]]), np.array([200]), 0.0)
    assert (none.mean_P == 0).all()
    assert none.precision_P.max() < 0.02


def test_the_variance_of_a_mean_counts_patients() -> None:
    gain_N = np.array([1.0, 1.0, 3.0, 3.0])  # mean 2; patients are -2 and 2 away from their share of it
    assert variance_of_mean(gain_N, np.array([0, 0, 1, 1])) == pytest.approx((4 + 4) * 2 / 1 / 16)
    assert variance_of_mean(gain_N, np.arange(4)) == pytest.approx(gain_N.var(ddof=1) / 4)
    assert variance_of_mean(gain_N, np.zeros(4, dtype=int)) == np.inf


def test_a_gain_of_few_equal_pairs_is_no_evidence_and_one_of_many_is() -> None:
    rng = np.random.default_rng(0)
    few, many, none = np.full(2, 0.5), 0.5 + rng.normal(size=400), rng.normal(size=400)
    alone = standard_errors([few, none], [np.arange(2), np.arange(400)])
    assert alone[0] < 2
    assert standard_errors([many, none], [np.arange(400)] * 2)[0] > 8
    assert not standard_errors([np.zeros(5), np.zeros(3)], [np.arange(5), np.arange(3)]).any()


def test_one_pair_alone_has_no_stack() -> None:
    sides = random_sides(60, 2, seed=6)
    rng = np.random.default_rng(0)
    groups = {
        "one patient": stack_pairs(sides, np.zeros(60), 5, rng),
        "one pair": stack_pairs([(i[:1], t[:1]) for i, t in sides], np.zeros(1), 5, rng),
        "none": stack_pairs([(i[:0], t[:0]) for i, t in sides], np.zeros(0), 5, rng),
        "sixty": stack_pairs(sides, np.arange(60), 5, rng),
    }
    found, _ = stacks(groups)
    assert {name for name, stack in found.items() if stack.weight_T.any()} == {"sixty"}
    assert [found[name].count for name in groups] == [60, 1, 0, 60]


def test_no_group_at_all_has_no_stack() -> None:
    assert stacks({}) == ({}, Strengths(0.0))


def test_a_teacher_that_says_nothing_in_a_group_has_no_weight_there_whatever_it_has_elsewhere() -> None:
    good = drawn_pairs(300, [1.5, 1.5], 0.2, seed=7)
    half = drawn_pairs(60, [1.5, 0.0], 0.2, seed=8)
    one = np.array([1.0, 0.0])
    silent = [Block(b.row_B, (b.z_BBT[0] * one, b.z_BBT[1] * one)) for b in half.blocks]
    half = StackPairs(silent, np.array([SPREAD, 0.0]), half.unit_N, half.fold_N)
    found, _ = stacks({"good": good, "half": half})
    assert found["half"].weight_T[0] > 0.5
    for value_P in (found["half"].slope_T, found["half"].low_P, found["half"].high_P, found["half"].weight_T):
        assert value_P[1] == 0.0


def test_the_same_pairs_give_the_same_bits() -> None:
    one, same = (stacks({"ct": drawn_pairs(200, [1.0, 0.5], 0.3, seed=9)})[0]["ct"] for _ in range(2))
    for name in ("weight_T", "slope_T", "low_P", "high_P"):
        assert getattr(one, name).tolist() == getattr(same, name).tolist()
    assert (one.wrong, one.gain, one.gain_best) == (same.wrong, same.gain, same.gain_best)
