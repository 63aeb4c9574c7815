"""Forecasts of survival as columns of predictions, there and back, and curves; N patients, T times, B weightings.

The columns hold all that the metrics need, so nothing has to be known later of the patients a model was fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predictions
from mmkd.statistics.metrics import Array, ratio
from mmkd.statistics.survival.concordance import harrell_c, uno_c
from mmkd.statistics.survival.kaplan_meier import Censoring, KaplanMeier, LogRank, kaplan_meier, log_rank
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.scores import (
    brier_score,
    dynamic_auc,
    integrated_brier_score,
    mean_dynamic_auc,
)

SURVIVAL = "survival:"  # prefix of columns: the model's probability of living beyond the time that follows
EVERYBODY = "everybody:"  # the same for all training patients, by Kaplan and Meier
UNCENSORED = "uncensored:"  # the training patients' probability of not being censored up to the time that follows
ATTENTION = "attention_risk"
OWN = "uncensored"  # the same up to the patient's own time, or to the last of the times where that is later


@dataclass(frozen=True)
class Forecast:
    """What a model predicted for each patient, and what happened.

    fold_N: of the model that predicted it; log hazards `risk_N` are comparable within a fold only, probabilities
    everywhere.
    curve: the censoring distribution, known at the times and at every patient's own time before the last of them.
    attention_N: log hazards by attention over a patient's images, None where no patient has several.
    """

    outcomes: Outcomes
    fold_N: Array
    risk_N: Array
    time_T: Array
    survival_NT: Array
    everybody_NT: Array
    curve: Censoring
    attention_N: Array | None = None


def columns_of(forecast: Forecast) -> dict[str, Array]:
    """As predictions store it; the names of the times carry them exactly."""
    outcomes, time_T = forecast.outcomes, forecast.time_T
    columns = {
        "time": outcomes.time_N,
        "event": outcomes.event_N,
        "risk": forecast.risk_N,
        "fold": forecast.fold_N.astype(np.int32),
        OWN: forecast.curve.at(np.minimum(outcomes.time_N, time_T[-1])),
    }
    if forecast.attention_N is not None:
        columns[ATTENTION] = forecast.attention_N
    for t, time in enumerate(time_T.tolist()):
        columns[f"{SURVIVAL}{time!r}"] = forecast.survival_NT[:, t]
        columns[f"{EVERYBODY}{time!r}"] = forecast.everybody_NT[:, t]
        columns[f"{UNCENSORED}{time!r}"] = np.full(len(outcomes), forecast.curve.at(time_T[t : t + 1])[0])
    return columns


def forecast_of(columns: Mapping[str, Array]) -> Forecast:
    outcomes = Outcomes.of(columns["event"], columns["time"])
    times = sorted(float(name.removeprefix(SURVIVAL)) for name in columns if name.startswith(SURVIVAL))
    time_T = np.array(times)
    known = np.concatenate([columns[OWN], [columns[f"{UNCENSORED}{time!r}"][0] for time in times]])
    time_U, first_U = np.unique(np.concatenate([np.minimum(outcomes.time_N, time_T[-1]), time_T]), return_index=True)
    return Forecast(
        outcomes=outcomes,
        fold_N=columns["fold"],
        risk_N=columns["risk"],
        time_T=time_T,
        survival_NT=np.stack([columns[f"{SURVIVAL}{time!r}"] for time in times], axis=1),
        everybody_NT=np.stack([columns[f"{EVERYBODY}{time!r}"] for time in times], axis=1),
        curve=Censoring(time_U, known[first_U]),
        attention_N=columns.get(ATTENTION),
    )


def forecast_metrics(forecast: Forecast, weight_BN: Array) -> dict[str, Array]:
    """C-indices within folds, AUC and Brier score of the probabilities over all patients; each (B,).

    brier_gain: 1 - integrated Brier score / that of the training patients' Kaplan-Meier curve; 0 is no better.
    """
    time_T, outcomes = forecast.time_T, forecast.outcomes
    integrated_B = _integrated(forecast.survival_NT, forecast, weight_BN)
    metrics = {
        **_concordances(forecast.risk_N, forecast, weight_BN),
        "mean_dynamic_auc": mean_dynamic_auc(_auc_over_time(forecast, weight_BN), time_T, outcomes, weight_BN),
        "integrated_brier": integrated_B,
        "brier_gain": 1 - ratio(integrated_B, _integrated(forecast.everybody_NT, forecast, weight_BN)),
    }
    if forecast.attention_N is not None:
        attended = _concordances(forecast.attention_N, forecast, weight_BN)
        metrics |= {f"attention_{name}": value_B for name, value_B in attended.items()}
    return metrics


def _concordances(risk_N: Array, forecast: Forecast, weight_BN: Array) -> dict[str, Array]:
    outcomes, last = forecast.outcomes, float(forecast.time_T[-1])
    return {
        "harrell_c": harrell_c(risk_N, outcomes, weight_BN, forecast.fold_N),
        "uno_c": uno_c(risk_N, outcomes, forecast.curve, last, weight_BN, forecast.fold_N),
    }


def _auc_over_time(forecast: Forecast, weight_BN: Array) -> Array:
    """At each time by the probability of having had the event: unlike log hazards it compares across folds; (B, T)."""
    parts = [
        dynamic_auc(1 - forecast.survival_NT[:, t], forecast.outcomes, time_1, forecast.curve, weight_BN)
        for t, time_1 in enumerate(forecast.time_T[:, None])
    ]
    return np.concatenate(parts, axis=1)


def _integrated(survival_NT: Array, forecast: Forecast, weight_BN: Array) -> Array:
    score_BT = brier_score(survival_NT, forecast.outcomes, forecast.time_T, forecast.curve, weight_BN)
    return integrated_brier_score(score_BT, forecast.time_T)


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
