"""Cross-validation of Cox models; N patients, D covariates, K penalties."""

from collections.abc import Iterator, Sequence

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.cox import CoxModel, fit_cox
from mmkd.statistics.survival.cox_likelihood import log_partial_likelihood, risk_sets
from mmkd.statistics.survival.outcomes import Outcomes, checked_table


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
