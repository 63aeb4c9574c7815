"""The Cox partial likelihood with tied times after Efron; N patients, E events, D covariates.

Patients stand in ascending order of time, so a risk set is all that come from some place on, and its sums are sums over
a tail. Event i of d tied ones has the denominator S0(risk set) - f_i S0(tied events), with f_i = 0/d, 1/d, ...,
(d-1)/d.
"""

from dataclasses import dataclass

import numpy as np

from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes


@dataclass(frozen=True)
class RiskSets:
    """Who is at risk at each event; made by `risk_sets`, the same for every coefficient.

    order_N: patients by time. event_N: of the ordered patients. first_E: place of the first patient at risk.
    group_E: number of the event's time among the distinct event times. share_E: f_i.
    reached_N: how many events happened up to and including each patient's time.
    """

    order_N: Array
    event_N: Array
    first_E: Array
    group_E: Array
    share_E: Array
    reached_N: Array


@dataclass(frozen=True)
class Likelihood:
    """log: of the partial likelihood. gradient_D, information_DD: its first and negative second derivative."""

    log: float
    gradient_D: Array
    information_DD: Array


def risk_sets(outcomes: Outcomes) -> RiskSets:
    order_N = np.argsort(outcomes.time_N, kind="stable")
    time_N, event_N = outcomes.time_N[order_N], outcomes.event_N[order_N]
    time_E = time_N[event_N]
    # runs of equal times: where each starts, which one an event is in, how long each is
    _, start, group_E, length = np.unique(time_E, return_index=True, return_inverse=True, return_counts=True)
    return RiskSets(
        order_N=order_N,
        event_N=event_N,
        first_E=np.searchsorted(time_N, time_E, side="left"),
        group_E=group_E,
        share_E=(np.arange(len(time_E)) - start[group_E]) / length[group_E],
        reached_N=np.searchsorted(time_E, time_N, side="right"),
    )


def log_partial_likelihood(log_hazard_N: Array, sets: RiskSets) -> float:
    """The log partial likelihood (Cox 1972) of log hazards in the patients' own order; -inf where it underflows."""
    eta_N = log_hazard_N[sets.order_N]
    highest = eta_N.max()
    hazard_N = np.exp(eta_N - highest)
    denominator_E = _denominators(hazard_N[:, None], sets)[:, 0]
    with np.errstate(divide="ignore"):
        return float((eta_N[sets.event_N] - highest - np.log(denominator_E)).sum())


def likelihood(value_ND: Array, coefficient_D: Array, sets: RiskSets) -> Likelihood:
    """The partial likelihood and its derivatives at some coefficients.

    O(N D^2): the second moments of all risk sets add up to one product in which each patient counts as often as the
    risk sets hold it.
    """
    value_ND = value_ND[sets.order_N]
    eta_N = value_ND @ coefficient_D
    hazard_N = np.exp(eta_N - eta_N.max())
    denominator_E = _denominators(hazard_N[:, None], sets)[:, 0]
    expected_N = hazard_N * _held(1 / denominator_E, sets)
    mean_ED = _denominators(hazard_N[:, None] * value_ND, sets) / denominator_E[:, None]
    return Likelihood(
        log=float((eta_N[sets.event_N] - eta_N.max() - np.log(denominator_E)).sum()),
        gradient_D=(sets.event_N - expected_N) @ value_ND,
        information_DD=(value_ND * expected_N[:, None]).T @ value_ND - mean_ED.T @ mean_ED,
    )


def hazard_steps(log_hazard_N: Array, sets: RiskSets) -> Array:
    """What each event adds to the cumulative hazard of a patient of log hazard 0, in order of time; shape (E,).

    Breslow's estimator: one over the summed hazards of the risk set.
    """
    hazard_N = np.exp(log_hazard_N[sets.order_N])
    return np.asarray(1 / _tails(hazard_N[:, None])[sets.first_E, 0])


def _denominators(term_ND: Array, sets: RiskSets) -> Array:
    """For each event the sum over its risk set, less the share of its tied events; (E, D)."""
    event_ED = term_ND[sets.event_N]
    starts = np.flatnonzero(np.diff(sets.group_E, prepend=-1))
    tied_ED = np.add.reduceat(event_ED, starts, axis=0)[sets.group_E]
    return np.asarray(_tails(term_ND)[sets.first_E] - sets.share_E[:, None] * tied_ED)


def _held(value_E: Array, sets: RiskSets) -> Array:
    """For each patient the sum over the events whose risk set holds it, less its share of its tied ones; (N,)."""
    sum_N = np.concatenate([[0.0], np.cumsum(value_E)])[sets.reached_N]
    tied_E = np.bincount(sets.group_E, weights=sets.share_E * value_E)[sets.group_E]
    sum_N[sets.event_N] -= tied_E
    return sum_N


def _tails(term_ND: Array) -> Array:
    """The sum from each place on; (N, D)."""
    return np.cumsum(term_ND[::-1], axis=0)[::-1]
