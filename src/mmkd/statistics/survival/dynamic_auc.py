"""Who has had the event by a time, against who lives beyond it; N patients, B weightings, T times."""

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.ranking import auc
from mmkd.statistics.survival.kaplan_meier import (
    Censoring,
    inverse_censoring,
    risk_table,
    steps_at,
    survival_steps,
)
from mmkd.statistics.survival.outcomes import Outcomes, checked_column, checked_times, checked_weights


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
