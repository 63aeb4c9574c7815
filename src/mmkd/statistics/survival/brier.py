"""How far predicted survival probabilities are from what happened; N patients, B weightings, T times."""

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.survival.kaplan_meier import Censoring, inverse_censoring
from mmkd.statistics.survival.outcomes import Outcomes, checked_table, checked_times, checked_weights


def brier_score(survival_NT: Array, outcomes: Outcomes, time_T: Array, curve: Censoring, weight_BN: Array) -> Array:
    """Mean squared error of the predicted probabilities of living beyond each time, lower is better; shape (B, T).

    Patients censored before a time count through those who were not: 1 / G(own time) where the event happened by then,
    1 / G(time) where it had not. 0.25 is what 0.5 for everybody gives without censoring; the Kaplan-Meier curve of the
    training patients for everybody is the model to beat. curve: the censoring distribution G of the training patients.
    Graf et al., Statistics in Medicine 18 (1999), 2529-2545. A weighting of zeros gets NaN. Raises DataError for
    probabilities outside 0..1, a time beyond which nobody is observed, or a G that is not known.
    """
    time_T = checked_times(time_T)
    survival_NT = _checked_probabilities(survival_NT, outcomes, time_T)
    weight_BN = checked_weights(weight_BN, len(outcomes))
    if time_T[-1] >= outcomes.time_N.max():
        raise DataError(
            f"Brier score at time {time_T[-1]:g}: nobody is observed beyond it; "
            f"expected times below {outcomes.time_N.max():g}"
        )
    dead_NT = outcomes.event_N[:, None] & (outcomes.time_N[:, None] <= time_T)
    alive_NT = outcomes.time_N[:, None] > time_T
    inverse_N1 = inverse_censoring(outcomes, curve, dead_NT[:, -1])[:, None]
    loss_NT = dead_NT * inverse_N1 * survival_NT**2 + alive_NT / curve.at(time_T) * (1 - survival_NT) ** 2
    return ratio(weight_BN @ loss_NT, weight_BN.sum(axis=1, keepdims=True))


def integrated_brier_score(score_BT: Array, time_T: Array) -> Array:
    """The mean of the Brier score over time, by trapezoids between the first and the last time; shape (B,).

    Raises ValueError for fewer than two times.
    """
    time_T = checked_times(time_T)
    if len(time_T) < 2:
        raise ValueError(f"integrated Brier score: found {len(time_T)} time, expected at least two")
    mean_B: Array = np.trapezoid(score_BT, time_T, axis=1) / (time_T[-1] - time_T[0])
    return mean_B


def _checked_probabilities(survival_NT: Array, outcomes: Outcomes, time_T: Array) -> Array:
    survival_NT = checked_table(survival_NT, len(outcomes), "survival")
    if survival_NT.shape[1] != len(time_T):
        raise ValueError(f"survival has {survival_NT.shape[1]} columns; expected one for each of {len(time_T)} times")
    if survival_NT.min() < 0 or survival_NT.max() > 1:
        raise DataError(
            f"survival probabilities lie in {survival_NT.min():g}..{survival_NT.max():g}; expected 0..1 "
            "(a risk is no probability)"
        )
    return survival_NT
