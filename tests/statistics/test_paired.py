"""DeLong against a direct computation over all pairs, McNemar against SciPy's binomial test."""

import numpy as np
import pytest
from delong_directly import direct
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from sklearn.metrics import roc_auc_score

from mmkd.statistics.bootstrap import plan_draws, replicate
from mmkd.statistics.metrics import Array
from mmkd.statistics.paired import AucDifference, McNemar, delong_macro_test, mcnemar, placements
from mmkd.statistics.ranking import auc


def world(seed: int, models: int = 3, samples: int = 40, ties: bool = True) -> tuple[Array, Array]:
    """Correlated scores of several models (Q, N) and what is positive (N,)."""
    rng = np.random.default_rng(seed)
    positive_N = np.arange(samples) % 3 == 0
    score_QN = rng.normal(size=samples) + rng.normal(size=(models, samples)) + positive_N
    return (np.round(score_QN * 2) if ties else score_QN), positive_N


def delong(score_QN: Array, positive_N: Array) -> tuple[Array, Array]:
    """The AUCs of several models and their covariance, from their placements."""
    pairs = [placements(score_N, positive_N) for score_N in score_QN]
    positive_QP, negative_QM = (np.stack(side) for side in zip(*pairs, strict=True))
    covariance_QQ = np.cov(positive_QP) / positive_QP.shape[1] + np.cov(negative_QM) / negative_QM.shape[1]
    return positive_QP.mean(axis=1), np.atleast_2d(covariance_QQ)


def delong_test(first_N: Array, second_N: Array, positive_N: Array) -> AucDifference:
    """Of scores of one class, which say of the other one the opposite."""
    first_N2, second_N2 = (np.stack([-score_N, score_N], axis=1) for score_N in (first_N, second_N))
    return delong_macro_test(first_N2, second_N2, positive_N.astype(int))


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("models", [1, 3])
def test_delong_equals_the_direct_computation(ties: bool, models: int) -> None:
    score_QN, positive_N = world(0, models, ties=ties)
    found_Q, found_QQ = delong(score_QN, positive_N)
    expected_Q, expected_QQ = direct(score_QN, positive_N)
    np.testing.assert_allclose(found_Q, expected_Q, rtol=1e-12)
    np.testing.assert_allclose(found_QQ, expected_QQ, rtol=1e-12)
    np.testing.assert_allclose(found_Q, [roc_auc_score(positive_N, score_N) for score_N in score_QN], rtol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=4, max_size=14))
def test_delong_equals_the_direct_computation_on_anything(samples: list[tuple[int, int, bool]]) -> None:
    score_QN = np.array([[first for first, _, _ in samples], [second for _, second, _ in samples]], float)
    positive_N = np.array([positive for _, _, positive in samples])
    if 2 <= np.count_nonzero(positive_N) <= len(samples) - 2:
        for found, expected in zip(delong(score_QN, positive_N), direct(score_QN, positive_N), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-12)


def test_placements_by_hand() -> None:
    score_N = np.array([3.0, 1.0, 2.0, 1.0])
    of_positive_P, of_negative_M = placements(score_N, np.array([True, True, False, False]))
    np.testing.assert_array_equal(of_positive_P, [1.0, 0.25])  # 1 lies beside one of the two negatives
    np.testing.assert_array_equal(of_negative_M, [0.5, 0.75])


def test_the_test_is_the_contrast_of_the_covariance() -> None:
    score_QN, positive_N = world(1, models=2)
    auc_Q, covariance_QQ = direct(score_QN, positive_N)
    found = delong_test(score_QN[0], score_QN[1], positive_N)
    contrast = np.array([1, -1])
    assert found.difference == pytest.approx(auc_Q[0] - auc_Q[1], rel=1e-12)
    assert found.standard_error == pytest.approx(np.sqrt(contrast @ covariance_QQ @ contrast), rel=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (found.difference - 1.959963985 * found.standard_error, found.difference + 1.959963985 * found.standard_error)
    )


def test_the_error_is_the_bootstraps() -> None:
    score_QN, positive_N = world(2, models=2, samples=300)
    draws = plan_draws([""] * 300, positive_N, 3000, (0,))
    drawn = replicate(lambda weight_BN: {q: auc(score_QN[q], positive_N, weight_BN) for q in range(2)}, draws)
    assert delong_test(score_QN[0], score_QN[1], positive_N).standard_error == pytest.approx(
        (drawn[0] - drawn[1]).std(), rel=0.05
    )


def test_swapping_the_models_swaps_the_sign_and_order_is_all_that_counts() -> None:
    (first_N, second_N), positive_N = world(3, models=2)
    found, swapped = delong_test(first_N, second_N, positive_N), delong_test(second_N, first_N, positive_N)
    assert (swapped.difference, swapped.p) == (-found.difference, found.p)
    assert delong_test(np.exp(first_N), 3 * second_N, positive_N) == found


def test_p_is_uniform_when_nothing_differs() -> None:
    drawn = ((world(seed, 2, 90, ties=False)[0], world(seed, 2, 90)[1]) for seed in range(400))
    p = [delong_test(score_QN[0], score_QN[1], positive_N).p or 0 for score_QN, positive_N in drawn]
    assert np.quantile(p, [0.05, 0.5]) == pytest.approx([0.05, 0.5], abs=0.06)


def test_models_that_order_alike_do_not_differ_and_perfection_cannot_be_tested() -> None:
    positive_N = np.array([True, True, False, False])
    perfect_N = positive_N * 1.0
    alike = delong_test(perfect_N, 7 * perfect_N, positive_N)
    assert (alike.difference, alike.standard_error, alike.p) == (0, 0, 1.0)
    apart = delong_test(perfect_N, np.zeros(4), positive_N)
    assert (apart.difference, apart.standard_error, apart.p) == (0.5, 0, None)


@pytest.mark.parametrize("positives", [0, 1, 3, 4])
def test_a_class_of_one_sample_has_no_variance(positives: int) -> None:
    with pytest.raises(ValueError, match=f"{positives} positives and {4 - positives} negatives, expected two of both"):
        delong(np.zeros((1, 4)), np.arange(4) < positives)


def test_scores_without_a_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="score: 1 of 4 are not finite"):
        delong_test(np.array([1, 2, np.nan, 3]), np.zeros(4), np.arange(4) < 2)
    with pytest.raises(ValueError, match=r"shape \(3,\) for positives of shape \(4,\)"):
        placements(np.zeros(3), np.arange(4) < 2)


def right(first_only: int, second_only: int, both: int = 5, none: int = 5) -> tuple[Array, Array]:
    pairs = [(True, False)] * first_only + [(False, True)] * second_only + [(True, True)] * both
    first, second = zip(*pairs, *[(False, False)] * none, strict=True)
    return np.array(first), np.array(second)


@given(st.integers(0, 25), st.integers(0, 25))
def test_mcnemar_is_scipys_binomial_test_of_the_discordant_samples(first_only: int, second_only: int) -> None:
    found = mcnemar(*right(first_only, second_only))
    assert (found.first_only, found.second_only) == (first_only, second_only)
    tossed = first_only + second_only
    exact = binomtest(first_only, tossed).pvalue if tossed else 1.0
    assert found.p_exact == pytest.approx(exact, rel=1e-9)
    # mid-p: outcomes less probable than this one, and half of those that are as probable
    chance = binom.pmf(np.arange(tossed + 1), tossed, 0.5)
    rarer, same = (chance[first_only] - chance > 1e-12), np.abs(chance - chance[first_only]) <= 1e-12
    middle = first_only == second_only  # then both tails hold the outcome whole
    assert found.p_mid == pytest.approx(1.0 if middle else chance[rarer].sum() + chance[same].sum() / 2, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: both tails of six tosses hold 2 (1 + 6) of 64 outcomes, mid-p leaves half of 12 out
    found = mcnemar(*right(1, 5))
    assert found == McNemar(1, 5, pytest.approx(14 / 64), pytest.approx(8 / 64))
    assert mcnemar(*right(0, 0)) == McNemar(0, 0, 1.0, 1.0)


def test_mcnemar_refuses_what_is_not_paired() -> None:
    with pytest.raises(ValueError, match="expected the same"):
        mcnemar(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="second: found float64, expected booleans"):
        mcnemar(np.ones(3, bool), np.ones(3))
