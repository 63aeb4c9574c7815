"""Patients above and below the median predicted risk; N patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.predictions import Predictions
from mmkd.evaluation.statistics.metrics import Array
from mmkd.evaluation.statistics.survival.kaplan_meier import KaplanMeier, kaplan_meier
from mmkd.evaluation.statistics.survival.log_rank import log_rank
from mmkd.evaluation.statistics.survival.outcomes import Outcomes

LOW, HIGH = "lower risk", "higher risk"


@dataclass(frozen=True)
class RiskHalves:
    """p: of the log-rank test, None where it is not defined."""

    curves: Mapping[str, KaplanMeier]
    p: float | None


def risk_halves(predictions: Predictions) -> RiskHalves | None:
    """Survival of the two halves; None where all risks are equal, or columns of the survival task are missing."""
    columns = predictions.columns
    if not {"time", "event", "risk"} <= set(columns):
        return None
    outcomes = Outcomes.of(columns["event"], columns["time"])
    is_high_N = above_median(columns["risk"], columns.get("fold", np.zeros(len(outcomes))))
    if is_high_N.all() or not is_high_N.any():
        return None
    curves = {LOW: kaplan_meier(outcomes.take(~is_high_N)), HIGH: kaplan_meier(outcomes.take(is_high_N))}
    return RiskHalves(curves, _p(outcomes, [HIGH if high else LOW for high in is_high_N]))


def above_median(risk_N: Array, fold_N: Array) -> Array:
    """Whether a risk is above the median of its fold: risks of different folds are of different models, and not on one
    scale. Boolean (N,)."""
    is_high_N = np.zeros(len(risk_N), np.bool_)
    for fold in np.unique(fold_N):
        is_high_N[fold_N == fold] = risk_N[fold_N == fold] > np.median(risk_N[fold_N == fold])
    return is_high_N


def _p(outcomes: Outcomes, group_N: list[str]) -> float | None:
    try:
        return log_rank(outcomes, group_N).p
    except DataError:  # no event in either half, say: the curves can still be drawn
        return None
