"""Patients with several slides: one row each, and folds that never cut one. N rows, P patients, D features."""

from collections.abc import Sequence

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes, checked_table


def number_patients(patient_N: Sequence[str]) -> tuple[tuple[str, ...], Array]:
    """The distinct patients in the order they first appear, and the place of each row's patient among them; int (N,).

    Raises DataError for a row without a patient: rows of unknown patients cannot be told apart from one another's.
    """
    unnamed = [row for row, patient in enumerate(patient_N) if not patient]
    if unnamed:
        raise DataError(f"row {unnamed[0]} has no patient ({len(unnamed)} of {len(patient_N)} rows like this)")
    place = {patient: number for number, patient in enumerate(dict.fromkeys(patient_N))}
    return tuple(place), np.array([place[patient] for patient in patient_N], np.int64)


def outcomes_per_patient(outcomes: Outcomes, patient_N: Sequence[str]) -> Outcomes:
    """One outcome for each patient, in the order of `number_patients`.

    Raises DataError where rows of one patient tell different times or events.
    """
    patients, number_N = _numbered(patient_N, outcomes)
    first_P = np.unique(number_N, return_index=True)[1]
    chosen = outcomes.take(first_P)
    for name, row_N, patient_P in (
        ("time", outcomes.time_N, chosen.time_N),
        ("event", outcomes.event_N, chosen.event_N),
    ):
        differs_N = row_N != patient_P[number_N]
        if differs_N.any():
            row = int(differs_N.argmax())
            found = f"{patient_P[number_N[row]]} and {row_N[row]}"
            raise DataError(
                f"patient {patients[number_N[row]]!r} has {found} as {name}; expected one outcome a patient"
            )
    return chosen


def means_per_patient(value_ND: Array, patient_N: Sequence[str]) -> Array:
    """The mean of each patient's rows, float64 (P, D), in the order of `number_patients`: slides pooled first.

    Raises DataError for values that are not finite.
    """
    value_ND = checked_table(value_ND, len(patient_N), "features")
    patients, number_N = number_patients(patient_N)
    total_PD = np.zeros((len(patients), value_ND.shape[1]))
    np.add.at(total_PD, number_N, value_ND)
    return np.asarray(total_PD / np.bincount(number_N)[:, None])


def patient_folds(outcomes: Outcomes, patient_N: Sequence[str], folds: int, rng: np.random.Generator) -> Array:
    """The fold of each row, int 0..folds-1; all rows of a patient share one.

    Patients, those with the event, and those without it each differ by at most one between folds. The result depends
    on the generator and the patients, not on the order of the rows. Raises ValueError for fewer than two folds,
    DataError where there are fewer patients with the event than folds (a fold without one cannot be measured) or where
    rows of one patient disagree.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; expected at least two")
    patients, number_N = _numbered(patient_N, outcomes)
    event_P = outcomes_per_patient(outcomes, patient_N).event_N
    if np.count_nonzero(event_P) < folds:
        raise DataError(
            f"{np.count_nonzero(event_P)} of {len(patients)} patients had the event; expected at least one for each of "
            f"{folds} folds"
        )
    by_name = np.argsort(patients)
    shuffled = [rng.permutation(by_name[event_P[by_name] == happened]) for happened in (True, False)]
    fold_P = np.empty(len(patients), np.int64)
    fold_P[np.concatenate(shuffled)] = np.arange(len(patients)) % folds  # dealt like cards, those with the event first
    return fold_P[number_N]


def _numbered(patient_N: Sequence[str], outcomes: Outcomes) -> tuple[tuple[str, ...], Array]:
    if len(patient_N) != len(outcomes):
        raise ValueError(f"{len(patient_N)} patient names for {len(outcomes)} outcomes; expected one for each row")
    return number_patients(patient_N)
