"""Kaplan-Meier curves of the patients with high and with low predicted risk; N patients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predictions
from mmkd.evaluation.survival.forecast import forecast_of
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.kaplan_meier import KaplanMeier, kaplan_meier
from mmkd.statistics.survival.log_rank import LogRank, log_rank

LOW, HIGH = "low risk", "high risk"


@dataclass(frozen=True)
class RiskGroups:
    """curves: by group, low risk first. test: of equal survival; its groups are in sorted order."""

    curves: Mapping[str, KaplanMeier]
    test: LogRank


def risk_groups(predictions: Predictions, confidence: float = 0.95) -> RiskGroups:
    """Split the patients of a survival task at the median of the predicted risks, fold by fold.

    No patient was used to fit the model of its own prediction, so p is not too small. The median itself is low
    risk. Raises DataError where one half is empty (all risks equal) or where the halves cannot be compared.
    """
    forecast = forecast_of(predictions.columns)
    group_N = np.where(above_median(forecast.risk_N, forecast.fold_N), HIGH, LOW)
    members = {group: group_N == group for group in (LOW, HIGH)}
    if not all(member_N.any() for member_N in members.values()):
        raise DataError(
            f"{predictions.facts.dataset}, {predictions.facts.model}: all risks are equal; expected a model that "
            "tells patients apart"
        )
    curves = {group: kaplan_meier(forecast.outcomes.take(member_N), confidence) for group, member_N in members.items()}
    return RiskGroups(curves, log_rank(forecast.outcomes, group_N.tolist()))


def above_median(risk_N: Array, fold_N: Array) -> Array:
    """Whether a risk lies above the median of its fold; bool (N,)."""
    above_N = np.zeros(len(risk_N), np.bool_)
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        above_N[held_N] = risk_N[held_N] > np.median(risk_N[held_N])
    return above_N
