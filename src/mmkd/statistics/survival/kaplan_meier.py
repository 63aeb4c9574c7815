"""Survival by Kaplan and Meier, of the event and of censoring, and the log-rank test of groups.

N patients, B weightings, G groups, U distinct times in ascending order, T times asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes, checked_weights


@dataclass(frozen=True)
class RiskTable:
    """Per weighting and distinct time: how many are still under observation, have their event, are censored."""

    time_U: Array
    at_risk_BU: Array
    event_BU: Array
    censored_BU: Array


@dataclass(frozen=True)
class KaplanMeier:
    """A survival curve: `survival_U` holds from its time until the next; 1 before the first."""

    time_U: Array
    survival_U: Array
    low_U: Array
    high_U: Array
    at_risk_U: Array
    event_U: Array
    censored_U: Array

    def at(self, time_T: Array) -> Array:
        """The probability of living beyond each time; after the last observed time the last value stands."""
        return steps_at(self.time_U, self.survival_U, time_T, before=1.0)


@dataclass(frozen=True)
class Censoring:
    """The probability of not having been censored up to and including a time; made by `censoring`."""

    time_U: Array
    survival_U: Array

    def at(self, time_T: Array) -> Array:
        """The probability at each time, above zero.

        Raises DataError for a time that lies beyond the last observed one, or from which on nobody was observed.
        """
        time_T = np.asarray(time_T, np.float64)
        found_T = steps_at(self.time_U, self.survival_U, time_T, before=1.0)
        unknown_T = (time_T > self.time_U[-1]) | (found_T <= 0)
        if unknown_T.any():
            raise DataError(
                f"censoring is not known at time {time_T[unknown_T].min():g}: the patients it is estimated from were "
                f"followed up to {self.time_U[-1]:g}; truncate earlier or estimate it from more patients"
            )
        return found_T


def risk_table(outcomes: Outcomes, weight_BN: Array) -> RiskTable:
    """Count the patients at every distinct time, each as often as its weight says."""
    weight_BN = checked_weights(weight_BN, len(outcomes))
    order_N = np.argsort(outcomes.time_N, kind="stable")
    time_U, start_U = np.unique(outcomes.time_N[order_N], return_index=True)
    event_N, sorted_BN = outcomes.event_N[order_N], weight_BN[:, order_N]
    event_BU = np.add.reduceat(sorted_BN * event_N, start_U, axis=1)
    censored_BU = np.add.reduceat(sorted_BN * ~event_N, start_U, axis=1)
    at_risk_BU = np.cumsum((event_BU + censored_BU)[:, ::-1], axis=1)[:, ::-1]
    return RiskTable(time_U, at_risk_BU, event_BU, censored_BU)


def survival_steps(table: RiskTable) -> Array:
    """The product-limit estimate (Kaplan and Meier 1958), 0..1; shape (B, U). A time at which nobody is left keeps the
    value before it, so a weighting of zeros stays at 1."""
    share_BU = _share(table.event_BU, table.at_risk_BU)
    return np.asarray(np.cumprod(1 - share_BU, axis=1))


def kaplan_meier(outcomes: Outcomes, confidence: float = 0.95) -> KaplanMeier:
    """The survival curve with pointwise intervals: Greenwood's variance on the log(-log) scale.

    Bounds lie in 0..1 (Kalbfleisch and Prentice, The Statistical Analysis of Failure Time Data, 1.4). Before the first
    event both are 1. Where the curve reaches 0 the variance is not defined: the lower bound is 0, the upper one stays
    what it was before (1 when there was none). Raises ValueError unless 0 < confidence < 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a value between 0 and 1")
    table = risk_table(outcomes, np.ones((1, len(outcomes))))
    survival_U = survival_steps(table)[0]
    at_risk_U, event_U = table.at_risk_BU[0], table.event_BU[0]
    greenwood_U = np.cumsum(_share(event_U, at_risk_U * (at_risk_U - event_U)))
    low_U, high_U = _log_log_bounds(survival_U, greenwood_U, confidence)
    return KaplanMeier(table.time_U, survival_U, low_U, high_U, at_risk_U, event_U, table.censored_BU[0])


def _log_log_bounds(survival_U: Array, greenwood_U: Array, confidence: float) -> tuple[Array, Array]:
    from scipy.special import ndtri  # where it is needed: recipes are read without scipy

    inside_U = (survival_U > 0) & (survival_U < 1)
    low_U, high_U = survival_U.copy(), survival_U.copy()
    log_U = np.log(survival_U[inside_U])
    reach_U = -ndtri((1 + confidence) / 2) * np.sqrt(greenwood_U[inside_U]) / log_U
    low_U[inside_U] = np.exp(log_U * np.exp(reach_U))
    high_U[inside_U] = np.exp(log_U * np.exp(-reach_U))
    if survival_U[-1] == 0:  # only the last time can empty the risk set by events
        high_U[-1] = high_U[-2] if len(high_U) > 1 else 1.0
    return low_U, high_U


def censoring(outcomes: Outcomes) -> Censoring:
    """The survival curve of censoring, for inverse probability weights.

    Where an event and a censoring share a time, the event came first, as in the curve of the event: who had the event
    is no longer at risk of being censored. The curve includes the censorings at its own time, G(t) = P(C > t).
    """
    table = risk_table(outcomes, np.ones((1, len(outcomes))))
    share_BU = _share(table.censored_BU, table.at_risk_BU - table.event_BU)
    return Censoring(table.time_U, np.cumprod(1 - share_BU[0]))


def inverse_censoring(outcomes: Outcomes, curve: Censoring, counted_N: Array) -> Array:
    """1 / G(own time) of the patients that count, 0 for the others; shape (N,). Raises DataError as `Censoring.at`."""
    inverse_N = np.zeros(len(outcomes))
    inverse_N[counted_N] = 1 / curve.at(outcomes.time_N[counted_N])
    return inverse_N


def steps_at(time_U: Array, value_U: Array, time_T: Array, before: float) -> Array:
    """A right-continuous step function at other times: the value of the last step not after each; `before` the first.

    value_U may have leading axes: (..., U) gives (..., T).
    """
    place_T = np.searchsorted(time_U, time_T, side="right")
    first = np.full((*value_U.shape[:-1], 1), before)
    return np.concatenate([first, value_U], axis=-1)[..., place_T]


def _share(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where there is no whole."""
    return np.asarray(np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0))


@dataclass(frozen=True)
class LogRank:
    """statistic: chi-squared with `degrees` of freedom under equal survival; p: its upper tail, 0..1.

    groups in sorted order; observed_G, expected_G: their events seen, and expected if all groups were one.
    """

    statistic: float
    degrees: int
    p: float
    groups: tuple[str, ...]
    observed_G: Array
    expected_G: Array


def log_rank(outcomes: Outcomes, group_N: Sequence[str]) -> LogRank:
    """The log-rank test of equal survival in all groups (Mantel 1966; Peto and Peto 1972), ties hypergeometric.

    A group whose patients were all censored before the first event carries no information: it stands in the table with
    nothing expected and costs no degree of freedom. Raises ValueError where the lengths differ, DataError where fewer
    than two groups are at risk when an event happens, or the only event time takes everybody left.
    """
    from scipy.special import chdtrc  # where it is needed: recipes are read without scipy

    if len(group_N) != len(outcomes):
        raise ValueError(f"{len(group_N)} group names for {len(outcomes)} patients; expected one for each")
    groups, number_N = np.unique(np.asarray(group_N, dtype=str), return_inverse=True)
    table = risk_table(outcomes, number_N == np.arange(len(groups))[:, None])
    observed_G = table.event_BU.sum(axis=1)
    expected_G, covariance_GG = _moments(table)
    present_G = expected_G > 0
    degrees = int(present_G.sum()) - 1
    if degrees < 1:
        raise DataError(
            f"log-rank test: {degrees + 1} of {len(groups)} groups were at risk when an event happened "
            f"({int(observed_G.sum())} events); expected at least two"
        )
    if not covariance_GG.any():
        raise DataError("log-rank test: the only event time takes everybody left, so the groups cannot be told apart")
    free = np.flatnonzero(present_G)[:-1]  # the differences of all groups sum to zero
    excess = (observed_G - expected_G)[free]
    statistic = float(excess @ np.linalg.solve(covariance_GG[np.ix_(free, free)], excess))
    return LogRank(
        statistic, degrees, float(chdtrc(degrees, statistic)), tuple(groups.tolist()), observed_G, expected_G
    )


def _moments(table: RiskTable) -> tuple[Array, Array]:
    """Mean (G,) and covariance (G, G) of the groups' events, given how many happened in all at each time."""
    at_risk_U, event_U = table.at_risk_BU.sum(axis=0), table.event_BU.sum(axis=0)
    share_GU = table.at_risk_BU / at_risk_U
    spread_U = event_U * (at_risk_U - event_U) / np.maximum(at_risk_U - 1, 1)  # nobody but one at risk: 0
    covariance_GG = np.diag(share_GU @ spread_U) - (share_GU * spread_U) @ share_GU.T
    return share_GU @ event_U, covariance_GG
