"""AUC and Brier score over time, under many weightings at once.

N patients, B weightings (bootstrap replicates), T times.

A weight is how often a patient was drawn. A weighting without what a score needs gets NaN, for the caller to count;
data without it raise DataError.
"""

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.ranking import auc
from mmkd.statistics.survival.kaplan_meier import Censoring, inverse_censoring, risk_table, steps_at, survival_steps
from mmkd.statistics.survival.outcomes import Outcomes, checked_column, checked_table, checked_times, checked_weights


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
    return np.asarray(np.trapezoid(score_BT, time_T, axis=1) / (time_T[-1] - time_T[0]))


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


def dynamic_auc(risk_N: Array, outcomes: Outcomes, time_T: Array, curve: Censoring, weight_BN: Array) -> Array:
    """Probability that a patient with the event by a time has a higher risk than one without it, 0..1; shape (B, T).

    Cumulative cases, dynamic controls: cases had the event at or before the time and count 1 / G(own time), controls
    are observed beyond it; who was censored before is neither. Equal risks count half. curve: the censoring
    distribution G of the training patients. Uno et al., JASA 102 (2007), 527-537; Hung and Chiang 2010. A weighting
    without a case or a control gets NaN, for the caller to count. Raises DataError where the data themselves have none
    at a time, a risk is not finite, or G is not known.
    """
    risk_N, time_T = checked_column(risk_N, len(outcomes), "risk"), checked_times(time_T)
    weight_BN = checked_weights(weight_BN, len(outcomes))
    case_TN = outcomes.event_N & (outcomes.time_N <= time_T[:, None])
    control_TN = outcomes.time_N > time_T[:, None]
    for time, cases, controls in zip(time_T, case_TN.sum(axis=1), control_TN.sum(axis=1), strict=True):
        if not cases or not controls:
            raise DataError(
                f"AUC at time {time:g}: {cases} patients with the event by then and {controls} observed beyond it; "
                "expected at least one of each"
            )
    inverse_N = inverse_censoring(outcomes, curve, case_TN[-1])
    columns = [
        auc(risk_N, case_N, weight_BN * np.where(case_N, inverse_N, control_N))
        for case_N, control_N in zip(case_TN, control_TN, strict=True)
    ]
    return np.stack(columns, axis=1)


def mean_dynamic_auc(auc_BT: Array, time_T: Array, outcomes: Outcomes, weight_BN: Array) -> Array:
    """The mean of the AUCs over the times, each weighted by the events since the time before it, 0..1; shape (B,).

    The weights are the falls of the Kaplan-Meier curve of the same patients and weighting (Lambert and Chevret 2016).
    NaN where an AUC of the weighting is.
    """
    time_T, table = checked_times(time_T), risk_table(outcomes, weight_BN)
    survival_BT = steps_at(table.time_U, survival_steps(table), time_T, before=1.0)
    fall_BT = -np.diff(survival_BT, axis=1, prepend=1.0)
    return ratio((auc_BT * fall_BT).sum(axis=1), fall_BT.sum(axis=1))
