"""AUC and Brier score over time against scikit-survival, on resamples, and by hand."""

import numpy as np
import pytest
from sksurv.metrics import brier_score as sksurv_brier
from sksurv.metrics import cumulative_dynamic_auc
from sksurv.metrics import integrated_brier_score as sksurv_integrated
from survival_world import counts, drawn, once, patients, risks, structured

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.kaplan_meier import Censoring, censoring, kaplan_meier
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.scores import brier_score, dynamic_auc, integrated_brier_score, mean_dynamic_auc

TIMES = np.array([3.0, 5.5, 9.0, 13.0])  # between events, at events, at censorings

# Events at 1 and 3, censored at 2 and 4: G falls to 2/3 at 2 and to 0 at 4.
FOUR = Outcomes.of(np.array([1, 0, 1, 0]), np.array([1.0, 2.0, 3.0, 4.0]))


@pytest.fixture
def train() -> Outcomes:
    return patients(70, seed=9)


@pytest.fixture
def test() -> Outcomes:
    return patients(60, seed=0)


def probabilities(outcomes: Outcomes) -> Array:
    return np.sort(np.random.default_rng(5).random((len(outcomes), len(TIMES))), axis=1)[:, ::-1]


def test_auc_by_hand() -> None:
    """At 3 the cases are the first (counts 1, above the last) and the third (counts 3/2, below); the last is none."""
    risk_N, curve = np.array([3.0, 9.0, 1.0, 2.0]), censoring(FOUR)
    auc_BT = dynamic_auc(risk_N, FOUR, np.array([1.0, 3.0]), curve, once(FOUR))
    # at 1: the first against 9, 1 and 2
    np.testing.assert_allclose(auc_BT, [[2 / 3, 1 / (1 + 3 / 2)]])
    # Kaplan-Meier: 3/4 after 1, 3/8 after 3, so falls of 1/4 and 3/8
    mean = (1 / 4 * 2 / 3 + 3 / 8 * 2 / 5) / (5 / 8)
    np.testing.assert_allclose(mean_dynamic_auc(auc_BT, np.array([1.0, 3.0]), FOUR, once(FOUR)), mean)


def test_auc_equals_scikit_survival_on_each_resample(test: Outcomes, train: Outcomes) -> None:
    risk_N, count_BN = risks(test), counts(test)
    found_BT = dynamic_auc(risk_N, test, TIMES, censoring(train), count_BN)
    mean_B = mean_dynamic_auc(found_BT, TIMES, test, count_BN)
    for found_T, mean, i in zip(found_BT, mean_B, drawn(count_BN), strict=True):
        expected_T, expected_mean = cumulative_dynamic_auc(
            structured(train), structured(test.take(i)), risk_N[i], TIMES, tied_tol=0
        )
        np.testing.assert_allclose(found_T, expected_T, atol=1e-12)
        assert mean == pytest.approx(expected_mean, abs=1e-12)


def test_a_resample_without_a_case_is_nan_and_the_others_are_not() -> None:
    count_BN = np.array([[1, 1, 1, 1], [0, 2, 1, 1], [0, 0, 0, 0]])
    time_T = np.array([1.0, 3.0])
    auc_BT = dynamic_auc(np.array([4.0, 1.0, 3.0, 2.0]), FOUR, time_T, censoring(FOUR), count_BN)
    np.testing.assert_array_equal(auc_BT, [[1, 1], [np.nan, 1], [np.nan, np.nan]])
    np.testing.assert_array_equal(mean_dynamic_auc(auc_BT, time_T, FOUR, count_BN), [1, np.nan, np.nan])


def test_constant_risks_are_chance_at_every_time(test: Outcomes, train: Outcomes) -> None:
    found_BT = dynamic_auc(np.zeros(len(test)), test, TIMES, censoring(train), once(test))
    np.testing.assert_allclose(found_BT, 0.5, atol=1e-12)


@pytest.mark.parametrize(("time", "words"), [(0.5, "0 patients with the event by then and 4"), (4.0, "and 0 observed")])
def test_a_time_without_cases_or_controls_is_an_error(time: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        dynamic_auc(np.arange(4.0), FOUR, np.array([time]), censoring(FOUR), once(FOUR))


def test_all_censored_have_no_auc() -> None:
    outcomes = Outcomes.of(np.zeros(3), np.array([1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match="0 patients with the event by then"):
        dynamic_auc(np.arange(3.0), outcomes, np.array([1.5]), censoring(outcomes), once(outcomes))


@pytest.mark.parametrize("times", [[2.0, 2.0], [2.0, 1.0], [-1.0], [np.nan], []])
def test_times_must_rise(times: list[float]) -> None:
    with pytest.raises(ValueError, match="times"):
        dynamic_auc(np.arange(4.0), FOUR, np.array(times), censoring(FOUR), once(FOUR))


def test_brier_by_hand() -> None:
    """At 3: the first died (.5^2), the second is unknown, the third died (3/2 * .4^2), the last lives (3/2 * .1^2)."""
    survival_NT = np.array([[0.5], [0.3], [0.4], [0.9]])
    found_BT = brier_score(survival_NT, FOUR, np.array([3.0]), censoring(FOUR), once(FOUR))
    assert found_BT[0, 0] == pytest.approx((0.25 + 1.5 * 0.16 + 1.5 * 0.01) / 4)


def test_brier_equals_scikit_survival_on_each_resample(test: Outcomes, train: Outcomes) -> None:
    survival_NT, count_BN = probabilities(test), counts(test)
    found_BT = brier_score(survival_NT, test, TIMES, censoring(train), count_BN)
    integrated_B = integrated_brier_score(found_BT, TIMES)
    for found_T, integrated, i in zip(found_BT, integrated_B, drawn(count_BN), strict=True):
        sample = structured(train), structured(test.take(i)), survival_NT[i], TIMES
        np.testing.assert_allclose(found_T, sksurv_brier(*sample)[1], atol=1e-12)
        assert integrated == pytest.approx(sksurv_integrated(*sample), abs=1e-12)


def test_without_censoring_brier_is_the_squared_error(test: Outcomes) -> None:
    outcomes = Outcomes.of(np.ones(len(test)), test.time_N)
    survival_NT = probabilities(outcomes)
    expected = ((outcomes.time_N[:, None] > TIMES) - survival_NT) ** 2
    found_BT = brier_score(survival_NT, outcomes, TIMES, censoring(outcomes), once(outcomes))
    np.testing.assert_allclose(found_BT[0], expected.mean(axis=0), atol=1e-12)


def test_kaplan_meier_is_the_best_constant_without_censoring(test: Outcomes) -> None:
    outcomes = Outcomes.of(np.ones(len(test)), test.time_N)
    best_NT = np.tile(kaplan_meier(outcomes).at(TIMES), (len(outcomes), 1))
    curve = censoring(outcomes)
    best = brier_score(best_NT, outcomes, TIMES, curve, once(outcomes))
    for shift in (-0.02, 0.02):
        worse = brier_score(np.clip(best_NT + shift, 0, 1), outcomes, TIMES, curve, once(outcomes))
        assert (worse > best).all()


def test_integral_of_a_straight_line_is_its_middle() -> None:
    np.testing.assert_allclose(integrated_brier_score(np.array([[0.1, 0.3], [0.2, 0.2]]), np.array([2.0, 6.0])), 0.2)
    with pytest.raises(ValueError, match="found 1 time, expected at least two"):
        integrated_brier_score(np.array([[0.1]]), np.array([2.0]))


def test_a_weighting_of_zeros_has_no_brier_score() -> None:
    found_BT = brier_score(np.full((4, 1), 0.5), FOUR, np.array([2.5]), censoring(FOUR), np.zeros((1, 4)))
    assert np.isnan(found_BT).all()


@pytest.mark.parametrize(
    ("survival", "time", "error", "words"),
    [
        (np.full((4, 1), 1.2), 2.5, DataError, "a risk is no probability"),
        (np.full((4, 1), np.nan), 2.5, DataError, r"survival: row 0, column 0 is nan.*4 of 4 rows"),
        (np.full((4, 2), 0.5), 2.5, ValueError, "2 columns; expected one for each of 1 times"),
        (np.full((3, 1), 0.5), 2.5, ValueError, r"survival has shape \(3, 1\)"),
        (np.full((4, 1), 0.5), 4.0, DataError, "nobody is observed beyond it; expected times below 4"),
    ],
)
def test_bad_predictions_are_named(survival: Array, time: float, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        brier_score(survival, FOUR, np.array([time]), censoring(FOUR), once(FOUR))


def test_brier_beyond_the_training_follow_up_is_an_error() -> None:
    short = Censoring(np.array([1.0]), np.array([0.5]))
    with pytest.raises(DataError, match="censoring is not known"):
        brier_score(np.full((4, 1), 0.5), FOUR, np.array([2.5]), short, once(FOUR))
