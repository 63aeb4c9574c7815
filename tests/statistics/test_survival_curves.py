"""Kaplan-Meier, the curve of censoring and the log-rank test against scikit-survival and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sksurv.compare import compare_survival
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from survival_world import counts, drawn, once, patients, structured

from mmkd.errors import DataError
from mmkd.statistics.survival.kaplan_meier import (
    censoring,
    kaplan_meier,
    log_rank,
    risk_table,
    steps_at,
    survival_steps,
)
from mmkd.statistics.survival.outcomes import Outcomes

# Six patients, worked by hand: events at 1, 2 (one event, one censored), 4 and 5; censored at 2 and 3.
SIX = Outcomes.of(np.array([1, 1, 0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 3.0, 4.0, 5.0]))


def test_kaplan_meier_by_hand() -> None:
    curve = kaplan_meier(SIX)
    np.testing.assert_array_equal(curve.time_U, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(curve.at_risk_U, [6, 5, 3, 2, 1])
    np.testing.assert_array_equal(curve.event_U, [1, 1, 0, 1, 1])
    np.testing.assert_array_equal(curve.censored_U, [0, 1, 1, 0, 0])
    np.testing.assert_allclose(curve.survival_U, [5 / 6, 4 / 6, 4 / 6, 2 / 6, 0])
    np.testing.assert_allclose(curve.at(np.array([0.5, 1.0, 3.9, 4.0, 99.0])), [1, 5 / 6, 4 / 6, 2 / 6, 0])


def test_greenwood_bounds_by_hand() -> None:
    """At time 2: S = 2/3, Greenwood's sum = 1/(6*5) + 1/(5*4) = 1/12."""
    curve = kaplan_meier(SIX, confidence=0.9)
    reach = norm.ppf(0.95) * np.sqrt(1 / 12) / np.log(2 / 3)
    assert curve.low_U[1] == pytest.approx((2 / 3) ** np.exp(-reach), abs=1e-12)
    assert curve.high_U[1] == pytest.approx((2 / 3) ** np.exp(reach), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_kaplan_meier_equals_scikit_survival(confidence: float) -> None:
    for seed in range(5):
        outcomes = patients(40, seed)
        curve = kaplan_meier(outcomes, confidence)
        time_U, survival_U, bounds = kaplan_meier_estimator(
            outcomes.event_N, outcomes.time_N, conf_type="log-log", conf_level=confidence
        )
        inside_U = survival_U > 0  # ours keeps the last bounds at 0, theirs are not a number or repeat it
        np.testing.assert_array_equal(curve.time_U, time_U)
        np.testing.assert_allclose(curve.survival_U, survival_U, atol=1e-12)
        np.testing.assert_allclose(curve.low_U[inside_U], bounds[0][inside_U], atol=1e-12)
        np.testing.assert_allclose(curve.high_U[inside_U], bounds[1][inside_U], atol=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=12))
def test_curves_fall_within_their_bounds_and_are_never_nan(rows: list[tuple[bool, int]]) -> None:
    event, time = zip(*rows, strict=True)
    curve = kaplan_meier(Outcomes.of(np.array(event), np.array(time)))
    steps = np.stack([curve.low_U, curve.survival_U, curve.high_U])
    assert ((steps >= 0) & (steps <= 1)).all()
    assert (np.diff(steps, axis=0) >= 0).all()
    assert (np.diff(curve.survival_U) <= 0).all()


def test_at_the_end_of_everybody_the_upper_bound_stays() -> None:
    alone = kaplan_meier(Outcomes.of(np.array([1]), np.array([3.0])))
    assert (alone.survival_U[0], alone.low_U[0], alone.high_U[0]) == (0.0, 0.0, 1.0)
    curve = kaplan_meier(SIX)
    assert curve.low_U[-1] == 0
    assert curve.high_U[-1] == curve.high_U[-2] < 1


def test_all_censored_live_with_certainty() -> None:
    curve = kaplan_meier(Outcomes.of(np.zeros(3), np.array([1.0, 2.0, 2.0])))
    np.testing.assert_array_equal([curve.survival_U, curve.low_U, curve.high_U], np.ones((3, 2)))


def test_weights_are_copies() -> None:
    outcomes = patients(30)
    count_BN = counts(outcomes)
    table = risk_table(outcomes, count_BN)
    for row_U, index in zip(survival_steps(table), drawn(count_BN), strict=True):
        expected = kaplan_meier(outcomes.take(index)).at(table.time_U)
        np.testing.assert_allclose(row_U, expected, atol=1e-12)
    assert (survival_steps(risk_table(outcomes, 0 * once(outcomes))) == 1).all()


def test_confidence_must_be_a_share() -> None:
    with pytest.raises(ValueError, match="confidence is 95"):
        kaplan_meier(SIX, confidence=95)


def test_censoring_by_hand_takes_events_first() -> None:
    """At 2 the event leaves before the censoring: 1 of 4 is censored; at 3 it is 1 of 3."""
    curve = censoring(SIX)
    np.testing.assert_allclose(curve.survival_U, [1, 3 / 4, 1 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(curve.at(np.array([0.0, 2.0, 2.5, 5.0])), [1, 3 / 4, 3 / 4, 1 / 2])


def test_censoring_equals_scikit_survival() -> None:
    for seed in range(5):
        outcomes = patients(40, seed)
        theirs = CensoringDistributionEstimator().fit(structured(outcomes))
        curve = censoring(outcomes)
        np.testing.assert_allclose(curve.survival_U, theirs.predict_proba(curve.time_U), atol=1e-12)


@pytest.mark.parametrize(("event", "time"), [([1, 1], 2.5), ([1, 0], 2.0)])
def test_censoring_that_is_not_known_is_an_error(event: list[int], time: float) -> None:
    with pytest.raises(DataError, match=rf"not known at time {time:g}.*followed up to 2"):
        censoring(Outcomes.of(np.array(event), np.array([1.0, 2.0]))).at(np.array([0.5, time]))


def test_steps_hold_until_the_next_one() -> None:
    found = steps_at(
        np.array([1.0, 3.0]), np.array([[5.0, 7.0], [6.0, 8.0]]), np.array([0.0, 1.0, 2.9, 3.0]), before=0.0
    )
    np.testing.assert_array_equal(found, [[0, 5, 5, 7], [0, 6, 6, 8]])


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_log_rank_equals_scikit_survival(groups: int) -> None:
    for seed in range(5):
        outcomes = patients(60, seed)
        group_N = [f"group {number}" for number in np.random.default_rng(seed).integers(0, groups, 60)]
        found = log_rank(outcomes, group_N)
        statistic, p = compare_survival(structured(outcomes), np.array(group_N))
        assert found.statistic == pytest.approx(statistic, abs=1e-9)
        assert found.p == pytest.approx(p, abs=1e-12)
        assert found.degrees == groups - 1
        assert found.observed_G.sum() == pytest.approx(found.expected_G.sum())


def test_log_rank_by_hand() -> None:
    """a: events at 1 and 2; b: event at 3, censored at 4. Of 4, 3 and 2 at risk, a holds 2, 1 and 0.

    Expected in a: 2/4 + 1/3 = 5/6; variance 1/4 + 2/9 = 17/36; (2 - 5/6)^2 / (17/36) = 49/17.
    """
    found = log_rank(Outcomes.of(np.array([1, 1, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0])), ["a", "a", "b", "b"])
    assert found.statistic == pytest.approx(49 / 17)
    assert found.groups == ("a", "b")
    np.testing.assert_allclose(found.expected_G, [5 / 6, 13 / 6])
    np.testing.assert_array_equal(found.observed_G, [2, 1])


def test_log_rank_of_equal_groups_finds_nothing_and_forgets_the_order() -> None:
    outcomes = patients(20)
    twice = outcomes.take(np.tile(np.arange(20), 2))
    found = log_rank(twice, ["x"] * 20 + ["y"] * 20)
    assert found.statistic == pytest.approx(0, abs=1e-12)
    assert found.p == pytest.approx(1)
    group_N = [str(number % 3) for number in range(20)]
    order = np.random.default_rng(0).permutation(20)
    shuffled = log_rank(outcomes.take(order), [group_N[place] for place in order])
    assert shuffled.statistic == pytest.approx(log_rank(outcomes, group_N).statistic, abs=1e-12)


def test_a_group_censored_before_the_first_event_costs_no_degree_of_freedom() -> None:
    outcomes = Outcomes.of(np.array([1, 1, 1, 0, 0]), np.array([1.0, 2.0, 3.0, 4.0, 0.5]))
    found = log_rank(outcomes, ["a", "a", "b", "b", "early"])
    assert found.statistic == pytest.approx(49 / 17)
    assert (found.degrees, found.expected_G[2]) == (1, 0)


@pytest.mark.parametrize(
    ("event", "time", "group", "words"),
    [
        ([1, 1, 0], [1, 2, 3], "aaa", "1 of 1 groups were at risk"),
        ([0, 0, 0], [1, 2, 3], "aab", r"0 of 2 groups were at risk when an event happened \(0 events\)"),
        ([1, 1, 0], [2, 2, 1], "aab", "1 of 2 groups"),
        ([1, 1, 1], [2, 2, 2], "aab", "takes everybody left"),
    ],
)
def test_log_rank_without_anything_to_compare(event: list[int], time: list[int], group: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        log_rank(Outcomes.of(np.array(event), np.array(time)), list(group))


def test_log_rank_needs_a_group_for_everybody() -> None:
    with pytest.raises(ValueError, match="2 group names for 6 patients"):
        log_rank(SIX, ["a", "b"])
