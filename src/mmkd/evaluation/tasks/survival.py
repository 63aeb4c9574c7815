"""Survival prediction: Cox models of covariates or of pooled image features; N patients, M of them training, D
features, T times."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mmkd.cards.card import Card
from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.heads.settings import SurvivalSettings
from mmkd.evaluation.models.embeddings import EmbeddedDataSet
from mmkd.evaluation.survival.cohort import Cohort, cohort_of
from mmkd.evaluation.survival.forecast import Forecast, columns_of, forecast_metrics, forecast_of
from mmkd.evaluation.tasks.task import Columns, Task
from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.cox import CoxModel, choose_penalty, fit_cox, standardised
from mmkd.statistics.survival.kaplan_meier import Censoring, censoring, kaplan_meier
from mmkd.statistics.survival.outcomes import Outcomes, event_time_quantiles
from mmkd.statistics.survival.patients import patient_folds

FOLLOWED_UP = ("table", "slides")  # the readers whose samples have outcomes
FEWEST_TIMES = 2  # that an integral needs


def _complaint(card: Card) -> str:
    reader = card.layout.reader
    if reader not in FOLLOWED_UP:
        return f"needs times and events, which the reader {reader!r} does not give"
    empty = sorted(name for name, columns in card.covariates.items() if not columns)
    return f"needs columns for every predictor of [covariates], found none for {', '.join(empty)}" if empty else ""


def _own_models(card: Card, samples: Sequence[Sample]) -> list[str]:
    if not card.covariates and not any(sample.images for sample in samples):
        raise DataError(f"{card.id}: survival needs pictures or [covariates], found neither")
    return list(card.covariates)


def _predict(embedded: EmbeddedDataSet[SurvivalSettings]) -> Predicted:
    """Raises DataError, with the card's name, for patients of whom nothing can be learnt or measured."""
    try:
        cohort = cohort_of(embedded.card, embedded.samples)
        value_ND = cohort.pooled(_features(embedded, cohort.samples))
        forecast = forecasts(value_ND, cohort, embedded.settings, embedded.seed)
        if embedded.members and any(len(sample.images) > 1 for sample in cohort.samples):
            forecast = replace(forecast, attention_N=_attended(embedded, cohort, forecast))
        # fail here, where the card and the model have names
        forecast_metrics(forecast, np.ones((1, len(forecast.outcomes))))
    except DataError as error:
        raise DataError(f"{embedded.card.id}, survival, {embedded.model}: {error}") from error
    return Predicted.of(cohort.test_rows(), columns_of(forecast), note=_note(cohort, forecast))


def _note(cohort: Cohort, forecast: Forecast) -> str:
    """Events of patients, which nobody can guess from a C-index, and who was left out."""
    events = f"{np.count_nonzero(forecast.outcomes.event_N):,} events of {len(forecast.outcomes):,} patients"
    return "; ".join(part for part in (events, cohort.left_out) if part)


def _features(embedded: EmbeddedDataSet[SurvivalSettings], samples: Sequence[Sample]) -> Array:
    """A row for each sample: covariates for a predictor of the card's own, else the mean over its images."""
    if not embedded.members:
        names = embedded.card.covariates[embedded.model]
        return np.array([[sample.covariates[name] for name in names] for sample in samples])
    blind = [sample.id for sample in samples if not sample.images]
    if blind:
        raise DataError(f"sample {blind[0]!r} has no picture ({len(blind)} of {len(samples)} samples like this)")
    return np.stack([embedded.of_bag(sample).mean(axis=0, dtype=np.float64) for sample in samples])


def _attended(embedded: EmbeddedDataSet[SurvivalSettings], cohort: Cohort, forecast: Forecast) -> Array:
    """Log hazards by attention over all images of a patient, by the same folds; (N,)."""
    from mmkd.evaluation.heads.attention import attention_risks  # loads torch, which recipes are read without

    bags: dict[str, list[Array]] = {name: [] for name in cohort.names}
    for sample, name in zip(cohort.samples, cohort.patient, strict=True):
        bags[name].append(embedded.of_bag(sample))
    bag_of = [np.concatenate(bags[name]) for name in cohort.names]
    fold_N = np.full(len(cohort.names), -1)
    fold_N[cohort.test_N] = forecast.fold_N
    risk_N = np.zeros(len(fold_N))
    for fold in np.unique(forecast.fold_N).tolist():
        train, held = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
        risk_N[held] = attention_risks(
            [bag_of[n] for n in train],
            cohort.outcomes.take(train),
            [cohort.names[n] for n in train],
            [bag_of[n] for n in held],
            embedded.settings,
            generator(embedded.seed, Purpose.SURVIVAL_ATTENTION, fold),
        )
    return np.asarray(risk_N[cohort.test_N])


def forecasts(value_ND: Array, cohort: Cohort, settings: SurvivalSettings, seed: int) -> Forecast:
    """The test patients by a model of the others; where there are no others, every fold by a model of the rest.

    Raises DataError without events, comparable pairs or times to measure at.
    """
    fold_N, parts, curve, time_T = _design(cohort, settings, seed)
    risk_N = np.empty(len(fold_N))
    survival_NT, everybody_NT = np.empty((2, len(fold_N), len(time_T)))
    for fold, (train_N, held_N) in enumerate(parts):
        outcomes, scaled_ND = cohort.outcomes.take(train_N), standardised(value_ND[train_N], value_ND)
        names = [name for name, train in zip(cohort.names, train_N, strict=True) if train]
        rng = generator(seed, Purpose.SURVIVAL_INNER_FOLDS, fold)
        model = fitted(value_ND[train_N], outcomes, names, settings, rng)
        risk_N[held_N] = model.log_hazards(scaled_ND[held_N])
        survival_NT[held_N] = model.survival(scaled_ND[held_N], time_T)
        everybody_NT[held_N] = kaplan_meier(outcomes).at(time_T)
    test_N = cohort.test_N
    return Forecast(
        outcomes=cohort.outcomes.take(test_N),
        fold_N=fold_N[test_N],
        risk_N=risk_N[test_N],
        time_T=time_T,
        survival_NT=survival_NT[test_N],
        everybody_NT=everybody_NT[test_N],
        curve=curve,
    )


def _design(
    cohort: Cohort, settings: SurvivalSettings, seed: int
) -> tuple[Array, list[tuple[Array, Array]], Censoring, Array]:
    """The fold of each patient, who trains and who is held in each, the censoring, and the times to measure at."""
    if cohort.test_N.all():
        fold_N = patient_folds(cohort.outcomes, cohort.names, settings.folds, generator(seed, Purpose.SURVIVAL_FOLDS))
        parts = [(fold_N != fold, fold_N == fold) for fold in range(settings.folds)]
        curve = censoring(cohort.outcomes)
    else:
        fold_N = np.zeros(len(cohort.names), np.int64)
        parts = [(~cohort.test_N, cohort.test_N)]
        curve = censoring(cohort.outcomes.take(~cohort.test_N))
    return fold_N, parts, curve, times_of_interest(cohort.outcomes.take(cohort.test_N), curve, settings.times)


def _check(card: Card, samples: Sequence[Sample], settings: SurvivalSettings, seed: int) -> None:
    _own_models(card, samples)
    cohort = cohort_of(card, samples)
    _, parts, _, _ = _design(cohort, settings, seed)
    for train_N, _ in parts:
        _check_events(cohort.outcomes.take(train_N), settings)


def _check_events(outcomes: Outcomes, settings: SurvivalSettings) -> int:
    """How many had the event. Raises DataError where a penalty cannot be chosen by so few."""
    events = int(np.count_nonzero(outcomes.event_N))
    if events < 2 and len(settings.penalties) > 1:
        raise DataError(f"{events} of {len(outcomes)} training patients had the event; expected two or more")
    return events


def fitted(
    value_MD: Array, outcomes: Outcomes, patients: Sequence[str], settings: SurvivalSettings, rng: np.random.Generator
) -> CoxModel:
    """A Cox model of standardised features, its penalty chosen by inner folds of these patients only."""
    penalties = settings.penalties
    if len(penalties) == 1:
        penalty = penalties[0]
    else:
        events = _check_events(outcomes, settings)
        fold_M = patient_folds(outcomes, patients, min(settings.folds, events), rng)
        penalty = choose_penalty(value_MD, outcomes, fold_M, penalties)
    return fit_cox(standardised(value_MD, value_MD), outcomes, penalty)


def times_of_interest(outcomes: Outcomes, curve: Censoring, count: int) -> Array:
    """Quantiles of the event times at which the training patients' censoring is known; (T,)."""
    time_T: Array = event_time_quantiles(outcomes, count)
    last = curve.time_U[curve.survival_U > 0].max(initial=0.0)
    time_T = time_T[time_T <= last]
    if len(time_T) < FEWEST_TIMES:
        raise DataError(
            f"{len(time_T)} distinct event times to measure at, among {np.count_nonzero(outcomes.event_N)} events and "
            f"up to time {last:g}, where the training patients' follow-up ends; expected {FEWEST_TIMES} or more"
        )
    return time_T


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    return forecast_metrics(forecast_of(columns), weight_BN)


TASK = Task(
    title="Survival prediction",
    section="survival",
    settings=SurvivalSettings,
    details=("kaplan_meier",),
    complaint=_complaint,
    check=_check,
    predict=_predict,
    measure=_measure,
    primary="harrell_c",
    needs_texts=False,
    own_models=_own_models,
    lower_is_better=("integrated_brier",),
    noted=True,
    protocol="events of patients in the note; one row a patient: mean over pictures, then over slides; patients "
    "without outcome or with a covariate of the card missing left out; Cox model (Efron), standardised, ridge penalty "
    "by inner folds of training patients; test split, or patient-level folds with events spread evenly; "
    "C-indices compare patients of one fold; uno_c counts events before the last time; AUC and Brier score at "
    "quantiles (10 to 80 %) of the event times, by the predicted probability; censoring weights from training "
    "patients (of folds: all patients); brier_gain = 1 - integrated Brier score / that of the training "
    "patients' Kaplan-Meier curve; integrated_brier: lower is better; attention_* (where patients have several "
    "pictures) = gated attention over all pictures with the Cox loss, stopped on a fifth of the training "
    "patients, by the same folds",
)
