"""Tests over data sets against SciPy, all sign flips and Demsar's published example; macro intervals against theory."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from mmkd.statistics.across_sets import (
    alike_groups,
    critical_difference,
    holm,
    macro_replicates,
    pairwise_signed_ranks,
    signed_rank,
)
from mmkd.statistics.metrics import Array

# Demsar, JMLR 2006: AUC of four variants of C4.5 on fourteen data sets. The last two of the thirteenth are both printed
# as 0.975 and ranked second and third.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.9749],
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_holm_by_hand() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and none may fall below the one before
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_array_equal(holm(np.array([0.5, 1.0])), [1.0, 1.0])
    assert len(holm(np.array([]))) == 0


def steps_down(p_K: Array, alpha: float) -> Array:
    """Holm's procedure as he gives it: reject from the smallest p on until one exceeds its share of alpha."""
    rejected = np.zeros(len(p_K), bool)
    for step, k in enumerate(np.argsort(p_K)):
        if p_K[k] * (len(p_K) - step) > alpha:
            break
        rejected[k] = True
    return rejected


@given(st.lists(st.integers(0, 100), min_size=1, max_size=10), st.integers(1, 99))
def test_holm_calls_what_the_procedure_rejects(percent: list[int], alpha: int) -> None:
    p_K = np.array(percent) / 100
    adjusted_K = holm(p_K)
    assert (p_K <= adjusted_K).all()
    np.testing.assert_array_equal(adjusted_K <= alpha / 100 + 1e-12, steps_down(p_K, alpha / 100 + 1e-12))


@pytest.mark.parametrize("p", [[0.5, 1.1], [-0.1], [np.nan, 0.2]])
def test_holm_refuses_what_is_no_probability(p: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.1|not finite"):
        holm(np.array(p))


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=40, unique_by=abs))
def test_signed_rank_equals_scipys_exact_test_without_ties(differences: list[int]) -> None:
    difference_S = np.array([d for d in differences if d], float)
    found = signed_rank(np.array(differences, float), np.zeros(len(differences)))
    expected = wilcoxon(difference_S, method="exact").pvalue if len(difference_S) else 1.0
    assert found == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_signed_rank_with_ties_equals_all_sign_flips(differences: list[int]) -> None:
    difference_S = np.array([d for d in differences if d])
    rank_S = rankdata(np.abs(difference_S))
    sums = [np.dot(signs, rank_S) for signs in product((0, 1), repeat=len(rank_S))]
    found = signed_rank(np.array(differences, float), np.zeros(len(differences)))
    lower = min(rank_S[difference_S > 0].sum(), rank_S[difference_S < 0].sum())
    assert found == pytest.approx(min(1.0, 2 * np.mean([total <= lower for total in sums])))


def test_signed_rank_by_hand_and_its_symmetry() -> None:
    first, second = np.array([0.9, 0.8, 0.7, 0.5]), np.array([0.8, 0.6, 0.4, 0.5])
    assert signed_rank(first, second) == signed_rank(second, first) == 2 / 2**3


def test_friedman_equals_scipy_with_ties() -> None:
    found = critical_difference(DEMSAR)
    expected = friedmanchisquare(*DEMSAR.T)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)


def test_demsars_example() -> None:
    found = critical_difference(DEMSAR)
    np.testing.assert_allclose(found.mean_rank_Q, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=5e-4)  # 1.25 in the paper
    assert found.alike == [(3, 1, 2, 0)]  # no pair is 1.25 apart
    bolder = critical_difference(DEMSAR, 0.9)
    assert bolder.difference == pytest.approx(1.12, abs=5e-3)
    assert bolder.alike == [(3, 1, 2), (2, 0)]  # plain C4.5 is worse than both variants with m


@pytest.mark.parametrize(
    ("models", "quantile"),
    [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)],
)
def test_critical_values_are_demsars_table(models: int, quantile: float) -> None:
    score_SQ = np.random.default_rng(0).random((30, models))
    expected = quantile * np.sqrt(models * (models + 1) / 180)
    assert critical_difference(score_SQ).difference == pytest.approx(expected, rel=5e-4)


def test_models_that_never_differ_are_one_group() -> None:
    found = critical_difference(np.full((5, 3), 0.7))
    assert (found.statistic, found.p, found.alike) == (0.0, 1.0, [(0, 1, 2)])
    np.testing.assert_array_equal(found.mean_rank_Q, 2)


def test_models_that_always_differ_stand_alone() -> None:
    found = critical_difference(np.tile([0.1, 0.9], (20, 1)))
    np.testing.assert_array_equal(found.mean_rank_Q, [2, 1])
    assert found.alike == []


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (3,)])
def test_one_model_or_data_set_cannot_be_ranked(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected two or more data sets by two or more models"):
        critical_difference(np.zeros(shape))


def test_alike_groups_by_hand() -> None:
    rank_Q = np.array([4.0, 1.0, 2.0, 3.0])
    near_QQ = np.abs(rank_Q[:, None] - rank_Q) < 1.5
    assert alike_groups(rank_Q, near_QQ) == [(1, 2), (2, 3), (3, 0)]
    assert alike_groups(rank_Q, np.abs(rank_Q[:, None] - rank_Q) < 2.5) == [(1, 2, 3), (2, 3, 0)]
    assert alike_groups(rank_Q, np.ones((4, 4), bool)) == [(1, 2, 3, 0)]
    assert alike_groups(rank_Q, np.eye(4, dtype=bool)) == []


def test_pairwise_signed_ranks_are_adjusted_over_the_pairs() -> None:
    score_SQ = np.random.default_rng(1).random((12, 3)) + np.array([0, 0.1, 0.8])
    plain = [signed_rank(score_SQ[:, i], score_SQ[:, j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    found_QQ = pairwise_signed_ranks(score_SQ)
    np.testing.assert_array_equal(found_QQ[[0, 0, 1], [1, 2, 2]], holm(np.array(plain)))
    np.testing.assert_array_equal(found_QQ, found_QQ.T)
    np.testing.assert_array_equal(np.diag(found_QQ), 1)


def set_replicates(spread_within: float, spread_between: float, sets: int, seed: int) -> Array:
    """Replicates of each of S data sets around its own mean; (S, B)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(sets, 1)) * spread_between + rng.normal(size=(sets, 4000)) * spread_within


def test_samples_only_is_the_mean_of_the_replicates() -> None:
    value_SB = set_replicates(0.1, 1.0, 8, seed=2)
    np.testing.assert_array_equal(macro_replicates(value_SB, "samples", (0,)), value_SB.mean(axis=0))


def test_drawing_data_sets_too_adds_the_variance_between_them() -> None:
    value_SB = set_replicates(0.3, 1.0, 8, seed=3)
    found_B = macro_replicates(value_SB, "data sets and samples", (0,))
    means_S = value_SB.mean(axis=1)
    assert found_B.mean() == pytest.approx(means_S.mean(), abs=0.03)
    # the mean of 8 draws of a data set and then of one of its replicates
    assert found_B.var() == pytest.approx((means_S.var() + value_SB.var(axis=1).mean()) / 8, rel=0.06)


def test_a_data_set_drawn_twice_brings_two_replicates() -> None:
    """Of data sets that are alike nothing but the samples varies, as if the data sets had not been drawn."""
    value_SB = set_replicates(1.0, 0.0, 5, seed=4)
    found_B = macro_replicates(value_SB, "data sets and samples", (0,))
    assert found_B.var() == pytest.approx(value_SB.mean(axis=0).var(), rel=0.08)


def test_families_are_drawn_whole() -> None:
    value_SB = np.array([[0.0], [0.0], [0.0], [1.0]]) + np.zeros((4, 3000))
    found_B = macro_replicates(value_SB, "data sets and samples", (0,), ["organ", "organ", "organ", ""])
    # two draws of two families: organ twice, both, or the lone one twice
    assert set(found_B.tolist()) == {0.0, 0.25, 1.0}
    assert np.mean(found_B == 0.25) == pytest.approx(0.5, abs=0.03)


def test_equal_seeds_pair_the_models() -> None:
    value_SB, seed = set_replicates(0.3, 1.0, 6, seed=5), (4, 2)
    first_B = macro_replicates(value_SB, "data sets and samples", seed)
    np.testing.assert_allclose(macro_replicates(value_SB - 0.25, "data sets and samples", seed), first_B - 0.25)
    assert (macro_replicates(value_SB, "data sets and samples", (4, 3)) != first_B).any()


def test_undefined_replicates_stay_undefined() -> None:
    value_SB = np.zeros((3, 1000))
    value_SB[0, :500] = np.nan
    undefined = np.isnan(macro_replicates(value_SB, "data sets and samples", (0,))).mean()
    assert np.isnan(macro_replicates(value_SB, "samples", (0,))).sum() == 500
    assert undefined == pytest.approx(1 - (5 / 6) ** 3, abs=0.05)  # each of three draws meets one in a sixth of cases
