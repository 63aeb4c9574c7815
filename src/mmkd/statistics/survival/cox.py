"""Cox's proportional hazards model on tables, and the choice of its penalty by cross-validation.

N patients, D covariates, K coordinates or penalties, U distinct event times, T times.

The hazard of a patient with covariates x is h0(t) exp(x . beta).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.cox_likelihood import (
    RiskSets,
    hazard_steps,
    likelihood,
    log_partial_likelihood,
    risk_sets,
)
from mmkd.statistics.survival.kaplan_meier import steps_at
from mmkd.statistics.survival.outcomes import Outcomes, checked_table, checked_times

MAX_ITERATIONS = 100
MAX_HALVINGS = 40
STILL = 1e-7  # log hazards that move less have converged: Newton's error after the step is about its square
FLAT = 1e-10  # gain of log likelihood that a step promises ...
DRIFT = 0.1  # ... while log hazards still move by more than this: they run away, since the likelihood has no maximum


@dataclass(frozen=True)
class CoxModel:
    """A fitted model. coefficient_D: log hazard ratio of one unit. log_likelihood: partial, without the penalty.

    mean_D: of the patients it was fitted on; log hazards are relative to it. hazard_U: Breslow's cumulative baseline
    hazard, of a patient at the mean, from time_U until the next event time.
    """

    coefficient_D: Array
    mean_D: Array
    time_U: Array
    hazard_U: Array
    log_likelihood: float
    iterations: int
    penalty: float

    def log_hazards(self, value_ND: Array) -> Array:
        """The log hazard of each row, higher = earlier event, 0 at the mean; shape (N,). Raises DataError for NaN."""
        value_ND = _table_of(value_ND, len(self.coefficient_D))
        return np.asarray((value_ND - self.mean_D) @ self.coefficient_D)

    def survival(self, value_ND: Array, time_T: Array) -> Array:
        """Probability of living beyond each time, 0..1; shape (N, T). After the last event time it stays as it is."""
        baseline_T = steps_at(self.time_U, self.hazard_U, checked_times(time_T), before=0.0)
        with np.errstate(over="ignore", invalid="ignore"):  # a hazard of infinity is a survival of zero
            hazard_NT = baseline_T * np.exp(self.log_hazards(value_ND))[:, None]
        # 0 times infinity: before the first event survival is one
        return np.asarray(np.where(baseline_T > 0, np.exp(-hazard_NT), 1.0))


def fit_cox(value_ND: Array, outcomes: Outcomes, penalty: float = 0.0) -> CoxModel:
    """Maximise log partial likelihood - penalty / 2 * |beta|^2 by Newton's method; ties after Efron.

    The penalty acts on coefficients as they are, so give it standardised covariates. With a penalty above zero there is
    always one solution, even with more covariates than patients. Without, DataError says which condition fails:
    covariates are constant or depend on each other linearly among the patients at risk, or the events are separated
    (some combination of covariates puts every event above all who outlive it: the likelihood has no maximum, the
    coefficients would grow for ever). DataError also where nothing can be learnt: no event, values that are not finite.
    """
    value_ND = checked_table(value_ND, len(outcomes), "covariates")
    if not (np.isfinite(penalty) and penalty >= 0):
        raise ValueError(f"penalty is {penalty}; expected a finite number, zero or more")
    if not outcomes.event_N.any():
        raise DataError(f"all {len(outcomes)} patients are censored; a Cox model needs at least one event")
    # Who left before the first event is in no risk set.
    at_risk_N = outcomes.time_N >= outcomes.time_N[outcomes.event_N].min()
    sets, mean_D = risk_sets(outcomes.take(at_risk_N)), value_ND.mean(axis=0)
    coordinates = _Coordinates.of(value_ND[at_risk_N], penalty)
    coefficient_K, log_likelihood, iterations = _newton(coordinates, sets)
    coefficient_D = coefficient_K @ coordinates.back_KD
    log_hazard_N = (value_ND - mean_D) @ coefficient_D
    time_E = np.sort(outcomes.time_N[outcomes.event_N])
    time_U, last_U = np.unique(time_E[::-1], return_index=True)
    hazard_E = np.cumsum(hazard_steps(log_hazard_N[at_risk_N], sets))
    return CoxModel(
        coefficient_D=coefficient_D,
        mean_D=mean_D,
        time_U=time_U,
        hazard_U=hazard_E[len(time_E) - 1 - last_U],
        log_likelihood=log_likelihood,
        iterations=iterations,
        penalty=penalty,
    )


@dataclass(frozen=True)
class _Coordinates:
    """Covariates as uncorrelated columns of unit variance, as few as their rank: Newton's systems are well conditioned,
    and small where there are more covariates than patients. beta = gamma @ back; penalty_K: of gamma."""

    value_NK: Array
    back_KD: Array
    penalty_K: Array

    @classmethod
    def of(cls, value_ND: Array, penalty: float) -> "_Coordinates":
        centred_ND = value_ND - value_ND.mean(axis=0)
        spread_D = np.sqrt((centred_ND**2).mean(axis=0))
        # Without a penalty the unit of a covariate is of no consequence, and must be of none for its rank.
        scale_D = np.where((spread_D > 0) & (penalty == 0), spread_D, 1.0)
        left_NK, size_K, right_KD = np.linalg.svd(centred_ND / scale_D, full_matrices=False)
        kept_K = size_K > size_K.max(initial=0.0) * max(value_ND.shape) * np.finfo(float).eps
        if penalty == 0 and np.count_nonzero(kept_K) < len(spread_D):
            raise DataError(
                f"{len(spread_D)} covariates have rank {np.count_nonzero(kept_K)} among the {len(value_ND)} patients "
                f"at risk at the first event (constant columns: {np.flatnonzero(spread_D == 0).tolist()}); "
                "leave the redundant ones out or set a penalty above zero"
            )
        root = np.sqrt(len(value_ND))
        size_K = size_K[kept_K] / root
        return cls(left_NK[:, kept_K] * root, right_KD[kept_K] / size_K[:, None] / scale_D, penalty / size_K**2)

    def objective(self, coefficient_K: Array, sets: RiskSets) -> float:
        penalised = self.penalty_K @ coefficient_K**2 / 2
        return log_partial_likelihood(self.value_NK @ coefficient_K, sets) - float(penalised)


def _newton(coordinates: _Coordinates, sets: RiskSets) -> tuple[Array, float, int]:
    """The coefficients of the coordinates, the log partial likelihood there, and the iterations it took."""
    coefficient_K = np.zeros(coordinates.value_NK.shape[1])
    for iteration in range(1, MAX_ITERATIONS + 1):
        here = likelihood(coordinates.value_NK, coefficient_K, sets)
        gradient_K = here.gradient_D - coordinates.penalty_K * coefficient_K
        step_K = np.linalg.solve(here.information_DD + np.diag(coordinates.penalty_K), gradient_K)
        moved_N = np.abs(coordinates.value_NK @ step_K)
        if not coordinates.penalty_K.any() and gradient_K @ step_K < FLAT and moved_N.max(initial=0.0) > DRIFT:
            raise _separated(coordinates, step_K)
        coefficient_K = _climb(coefficient_K, step_K, coordinates, sets)
        if moved_N.max(initial=0.0) <= STILL:
            final = log_partial_likelihood(coordinates.value_NK @ coefficient_K, sets)
            return coefficient_K, final, iteration
    raise DataError(
        f"the Cox model did not converge in {MAX_ITERATIONS} iterations: log hazards still move by "
        f"{moved_N.max():.2g}; standardise the covariates or raise the penalty"
    )


def _climb(coefficient_K: Array, step_K: Array, coordinates: _Coordinates, sets: RiskSets) -> Array:
    """The step, halved until the penalised likelihood does not fall by more than rounding."""
    before = coordinates.objective(coefficient_K, sets)
    for halving in range(MAX_HALVINGS):
        reached_K: Array = coefficient_K + step_K / 2**halving
        if coordinates.objective(reached_K, sets) >= before - 1e-12 * (1 + abs(before)):
            return reached_K
    return coefficient_K


def _separated(coordinates: _Coordinates, step_K: Array) -> DataError:
    direction_D = step_K @ coordinates.back_KD
    order = np.argsort(-np.abs(direction_D))[:3]
    return DataError(
        "the events are separated: some combination of the covariates puts every event above all who outlive it, so "
        f"the partial likelihood has no maximum (coefficients that run away: columns {order.tolist()}, towards "
        f"{np.sign(direction_D[order]).astype(int).tolist()}); use fewer covariates or set a penalty above zero"
    )


def _table_of(value_ND: Array, columns: int) -> Array:
    value_ND = checked_table(value_ND, len(value_ND), "covariates")
    if value_ND.shape[1] != columns:
        raise ValueError(f"covariates have {value_ND.shape[1]} columns; the model was fitted on {columns}")
    return value_ND


def standardised(train_MD: Array, value_ND: Array) -> Array:
    """The values in standard deviations from the mean of the training rows; a column constant in training becomes 0."""
    mean_D, spread_D = train_MD.mean(axis=0), train_MD.std(axis=0)
    # A mean of equal numbers may miss them by rounding, so ask for equality.
    constant_D = (train_MD == train_MD[:1]).all(axis=0)
    scaled_ND: Array = (value_ND - mean_D) / np.where(constant_D, 1.0, spread_D)
    return np.where(constant_D, 0.0, scaled_ND)


def choose_penalty(value_ND: Array, outcomes: Outcomes, fold_N: Array, penalties: Sequence[float]) -> float:
    """The penalty with the highest cross-validated partial likelihood; the largest of equally good ones.

    The likelihood of a fold is that of all patients less that of the others, under the model of the others: a fold's
    own risk sets would be too small (Verweij and van Houwelingen, Statistics in Medicine 12 (1993), 2305-2314). Give
    training patients only. Raises ValueError without penalties, DataError as `fit_cox` does, and for a fold that is
    all of the data.
    """
    if not penalties:
        raise ValueError("no penalty to choose from; expected at least one")
    value_ND = checked_table(value_ND, len(outcomes), "covariates")
    total_K = np.zeros(len(penalties))
    for held_N, scaled_ND in _splits(value_ND, outcomes, fold_N):
        train = outcomes.take(~held_N)
        all_sets = risk_sets(outcomes)
        for k, penalty in enumerate(penalties):
            model: CoxModel = fit_cox(scaled_ND[~held_N], train, penalty)
            total_K[k] += log_partial_likelihood(model.log_hazards(scaled_ND), all_sets) - model.log_likelihood
    best = max(range(len(penalties)), key=lambda k: (total_K[k], penalties[k]))
    return penalties[best]


def _splits(value_ND: Array, outcomes: Outcomes, fold_N: Array) -> Iterator[tuple[Array, Array]]:
    """For each fold who is held out, and the covariates of all patients standardised on the others."""
    if np.shape(fold_N) != (len(outcomes),):
        raise ValueError(f"folds have shape {np.shape(fold_N)}; expected one for each of {len(outcomes)} patients")
    folds = np.unique(fold_N)
    if len(folds) < 2:
        raise DataError(f"all {len(outcomes)} patients are in fold {folds[0]}; expected at least two folds")
    for fold in folds:
        held_N: Array = np.asarray(fold_N) == fold
        yield held_N, standardised(value_ND[~held_N], value_ND)
