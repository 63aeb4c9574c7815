"""Cox models against scikit-survival, finite differences, closed forms, and the ways in which they cannot be fitted."""

import numpy as np
import pytest
from sksurv.linear_model import CoxPHSurvivalAnalysis
from survival_world import covariates, patients, structured

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.cox import fit_cox
from mmkd.statistics.survival.cox_likelihood import likelihood, log_partial_likelihood, risk_sets
from mmkd.statistics.survival.outcomes import Outcomes


@pytest.fixture
def outcomes() -> Outcomes:
    return patients()


@pytest.mark.parametrize("penalty", [0.0, 0.5, 20.0])
def test_models_equal_scikit_survival(outcomes: Outcomes, penalty: float) -> None:
    value_ND, time_T = covariates(outcomes), np.array([0.5, 3.0, 5.5, 12.0])
    theirs = CoxPHSurvivalAnalysis(alpha=penalty, ties="efron", tol=1e-14).fit(value_ND, structured(outcomes))
    model = fit_cox(value_ND, outcomes, penalty)
    np.testing.assert_allclose(model.coefficient_D, theirs.coef_, atol=1e-9)
    curves = theirs.predict_survival_function(value_ND)
    expected_NT = np.column_stack([np.ones(len(outcomes)), [curve(time_T[1:]) for curve in curves]])
    np.testing.assert_allclose(model.survival(value_ND, time_T), expected_NT, atol=1e-9)


def test_one_tied_covariate_by_hand() -> None:
    """Two events at 1, one of either value, one patient of value 0 who outlives them; h = exp(beta).

    log h - log(h + 2) - log(h + 2 - (h + 1) / 2) has derivative zero where (h + 2)(h + 3) = h (2 h + 5), so at
    h = sqrt(6). Breslow's baseline for value 0: two events over h + 2.
    """
    outcomes, value_ND = Outcomes.of(np.array([1, 1, 0]), np.array([1.0, 1.0, 2.0])), np.array([[1.0], [0.0], [0.0]])
    model, h = fit_cox(value_ND, outcomes), np.sqrt(6)
    assert np.exp(model.coefficient_D[0]) == pytest.approx(h, abs=1e-9)
    assert model.log_likelihood == pytest.approx(np.log(h) - np.log(h + 2) - np.log((h + 3) / 2))
    hazard = 2 / (h + 2)
    np.testing.assert_allclose(
        model.survival(np.array([[0.0], [1.0]]), np.array([0.5, 1.0])).T, [[1, 1], np.exp([-hazard, -h * hazard])]
    )


def test_derivatives_equal_finite_differences(outcomes: Outcomes) -> None:
    value_ND, sets = covariates(outcomes), risk_sets(outcomes)
    at_D, step = np.array([0.3, -0.7, 0.2]), 1e-5
    here = likelihood(value_ND, at_D, sets)
    assert here.log == pytest.approx(log_partial_likelihood(value_ND @ at_D, sets))
    around = [[likelihood(value_ND, at_D + sign * step * e, sets) for sign in (1, -1)] for e in np.eye(3)]
    slope_D = [(up.log - down.log) / (2 * step) for up, down in around]
    curve_DD = [(down.gradient_D - up.gradient_D) / (2 * step) for up, down in around]
    np.testing.assert_allclose(here.gradient_D, slope_D, rtol=1e-6)
    np.testing.assert_allclose(here.information_DD, curve_DD, rtol=1e-6)


def test_the_penalised_gradient_vanishes(outcomes: Outcomes) -> None:
    """The definition of the solution, with more covariates than patients."""
    value_ND = covariates(outcomes, columns=90)
    model = fit_cox(value_ND, outcomes, 3.0)
    gradient_D = likelihood(value_ND, model.coefficient_D, risk_sets(outcomes)).gradient_D
    np.testing.assert_allclose(gradient_D, 3.0 * model.coefficient_D, atol=1e-9)


def test_units_and_offsets_of_covariates_change_coefficients_only_as_they_must(outcomes: Outcomes) -> None:
    value_ND, unit_D, offset_D = covariates(outcomes), np.array([1e-6, 1.0, 1e6]), np.array([1.0, 50.0, -1e8])
    plain, scaled = fit_cox(value_ND, outcomes), fit_cox(value_ND * unit_D + offset_D, outcomes)
    np.testing.assert_allclose(scaled.coefficient_D * unit_D, plain.coefficient_D, rtol=1e-7)
    assert scaled.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-9)


def test_log_hazards_are_relative_to_the_mean(outcomes: Outcomes) -> None:
    value_ND = covariates(outcomes)
    model = fit_cox(value_ND, outcomes)
    assert model.log_hazards(value_ND).mean() == pytest.approx(0, abs=1e-12)
    difference = model.log_hazards(value_ND[:1] + np.array([1.0, 0, 0])) - model.log_hazards(value_ND[:1])
    assert difference[0] == pytest.approx(model.coefficient_D[0])


def test_a_growing_penalty_shrinks_towards_zero(outcomes: Outcomes) -> None:
    value_ND = covariates(outcomes)
    sizes = [np.linalg.norm(fit_cox(value_ND, outcomes, penalty).coefficient_D) for penalty in (0.0, 1.0, 1e2, 1e9)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-6


def test_who_left_before_the_first_event_changes_no_coefficient(outcomes: Outcomes) -> None:
    value_ND = covariates(outcomes)
    more = Outcomes.of(np.append(outcomes.event_N, False), np.append(outcomes.time_N, 0.5))
    model = fit_cox(np.vstack([value_ND, [[99.0, -99.0, 99.0]]]), more)
    np.testing.assert_allclose(model.coefficient_D, fit_cox(value_ND, outcomes).coefficient_D, atol=1e-12)


def test_survival_falls_and_extreme_hazards_stay_probabilities(outcomes: Outcomes) -> None:
    value_ND, time_T = covariates(outcomes), np.array([0.5, 1.0, 7.0, 99.0])
    model = fit_cox(value_ND, outcomes)
    extreme_ND = np.vstack([value_ND, np.full((1, 3), 1e6), np.full((1, 3), -1e6)])
    survival_NT = model.survival(extreme_ND, time_T)
    assert ((survival_NT >= 0) & (survival_NT <= 1)).all()
    assert (np.diff(survival_NT, axis=1) <= 0).all()
    assert (survival_NT[:, 0] == 1).all()


def separated() -> tuple[Array, Outcomes]:
    """The earlier the event, the higher the second covariate; the first is noise."""
    time_N = np.arange(1.0, 13.0)
    value_ND = np.random.default_rng(0).normal(size=(12, 2))
    value_ND[:, 1] = -time_N
    return value_ND, Outcomes.of(np.ones(12), time_N)


def test_separation_is_reported_and_a_penalty_cures_it() -> None:
    value_ND, outcomes = separated()
    with pytest.raises(DataError, match=r"separated.*columns \[1, 0\], towards \[1, .*penalty above zero"):
        fit_cox(value_ND, outcomes)
    cured = fit_cox(value_ND, outcomes, 0.1)
    assert np.isfinite(cured.coefficient_D).all()
    gradient_D = likelihood(value_ND, cured.coefficient_D, risk_sets(outcomes)).gradient_D
    np.testing.assert_allclose(gradient_D, 0.1 * cured.coefficient_D, atol=1e-9)


def test_a_group_without_events_is_separated_too(outcomes: Outcomes) -> None:
    """The usual case on tables: nobody of a rare category died."""
    value_ND = covariates(outcomes)
    rare_N = np.zeros(len(outcomes))
    rare_N[np.flatnonzero(~outcomes.event_N)[-3:]] = 1
    value_ND[:, 2] = rare_N
    with pytest.raises(DataError, match=r"separated.*columns \[2"):
        fit_cox(value_ND, outcomes)


def test_strong_but_not_separated_events_are_fitted() -> None:
    value_ND, outcomes = separated()
    value_ND[[5, 6], 1] = value_ND[[6, 5], 1]
    with np.errstate(over="ignore"):  # of its baseline, which cancels to less than zero and is not compared
        theirs = CoxPHSurvivalAnalysis(ties="efron", tol=1e-14).fit(value_ND, structured(outcomes))
    np.testing.assert_allclose(fit_cox(value_ND, outcomes).coefficient_D, theirs.coef_, rtol=1e-7)


@pytest.mark.parametrize(
    ("column", "words"), [(np.full(60, 2.0), r"rank 3.*constant columns: \[3\]"), (None, r"rank 3.*columns: \[\]")]
)
def test_redundant_covariates_are_named_and_a_penalty_shares_them(
    outcomes: Outcomes, column: Array | None, words: str
) -> None:
    value_ND = covariates(outcomes)
    extra_N = value_ND[:, 0] if column is None else column
    redundant_ND = np.column_stack([value_ND, extra_N])
    with pytest.raises(DataError, match=words):
        fit_cox(redundant_ND, outcomes)
    coefficient_D = fit_cox(redundant_ND, outcomes, 0.01).coefficient_D
    assert coefficient_D[3] == pytest.approx(coefficient_D[0] if column is None else 0.0, abs=1e-9)


@pytest.mark.parametrize("event", [[1], [0, 0, 1]])
def test_an_event_that_nobody_outlives_teaches_nothing(event: list[int]) -> None:
    outcomes = Outcomes.of(np.array(event), np.arange(1.0, len(event) + 1))
    value_ND = np.arange(float(len(event)))[:, None]
    with pytest.raises(DataError, match="rank 0 among the 1 patients at risk"):
        fit_cox(value_ND, outcomes)
    assert fit_cox(value_ND, outcomes, 1.0).coefficient_D[0] == 0


def test_all_at_one_time_tell_nothing_apart() -> None:
    outcomes = Outcomes.of(np.ones(3), np.ones(3))
    model = fit_cox(np.array([[1.0], [2.0], [4.0]]), outcomes)
    assert model.coefficient_D[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "event", "penalty", "error", "words"),
    [
        ([[1.0], [np.nan]], [1, 1], 0.0, DataError, r"covariates: row 1, column 0 is nan.*1 of 2 rows"),
        ([[1.0], [2.0]], [0, 0], 0.0, DataError, "all 2 patients are censored"),
        ([[1.0]], [1, 1], 0.0, ValueError, r"expected \(2, D\)"),
        ([[1.0], [2.0]], [1, 1], -1.0, ValueError, "penalty is -1"),
    ],
)
def test_bad_input_is_named(
    value: list[list[float]], event: list[int], penalty: float, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fit_cox(np.array(value), Outcomes.of(np.array(event), np.array([1.0, 2.0])), penalty)


def test_prediction_needs_the_columns_of_the_fit(outcomes: Outcomes) -> None:
    model = fit_cox(covariates(outcomes), outcomes)
    with pytest.raises(ValueError, match="2 columns; the model was fitted on 3"):
        model.log_hazards(np.zeros((4, 2)))
    with pytest.raises(DataError, match="row 0, column 1 is nan"):
        model.survival(np.array([[0.0, np.nan, 0.0]]), np.array([1.0]))
