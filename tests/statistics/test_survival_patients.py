"""One row a patient, folds that never cut one, and predictions for patients a model has not seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from survival_world import covariates, patients

from mmkd.errors import DataError
from mmkd.statistics.survival.cox import choose_penalty, standardised
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.patients import (
    means_per_patient,
    number_patients,
    outcomes_per_patient,
    patient_folds,
)

SLIDES = ["b", "a", "b", "c", "a"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_slides_become_patients_by_hand() -> None:
    names, number_N = number_patients(SLIDES)
    assert names == ("b", "a", "c")
    np.testing.assert_array_equal(number_N, [0, 1, 0, 2, 1])
    outcomes = outcomes_per_patient(Outcomes.of(np.array([1, 0, 1, 1, 0]), np.array([3, 5, 3, 4, 5])), SLIDES)
    np.testing.assert_array_equal(outcomes.event_N, [True, False, True])
    np.testing.assert_array_equal(outcomes.time_N, [3, 5, 4])
    pooled_PD = means_per_patient(np.array([[1.0, 0], [2, 2], [3, 0], [7, 1], [4, 8]]), SLIDES)
    np.testing.assert_array_equal(pooled_PD, [[2, 0], [3, 5], [7, 1]])


@pytest.mark.parametrize(
    ("event", "time", "words"),
    [
        ([1, 0, 1, 1, 0], [3, 5, 4, 4, 5], r"patient 'b' has 3\.0 and 4\.0 as time"),
        ([1, 0, 1, 1, 1], [3, 5, 3, 4, 5], r"patient 'a' has False and True as event"),
    ],
)
def test_rows_of_a_patient_that_disagree_are_an_error(event: list[int], time: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        outcomes_per_patient(Outcomes.of(np.array(event), np.array(time)), SLIDES)


def test_rows_without_a_patient_or_a_feature_are_an_error() -> None:
    with pytest.raises(DataError, match=r"row 1 has no patient \(2 of 3 rows"):
        number_patients(["a", "", ""])
    with pytest.raises(DataError, match="features: row 2, column 0 is nan"):
        means_per_patient(np.array([[1.0], [2.0], [np.nan]]), ["a", "a", "b"])
    with pytest.raises(ValueError, match="1 patient names for 60 outcomes"):
        patient_folds(patients(), ["a"], 2, rng())


def slides_of(outcomes: Outcomes) -> tuple[Outcomes, list[str]]:
    """One to three slides for each patient."""
    row_N = np.repeat(np.arange(len(outcomes)), 1 + np.arange(len(outcomes)) % 3)
    return outcomes.take(row_N), [f"patient {number}" for number in row_N]


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_hold_whole_patients_and_equally_many_events(folds: int) -> None:
    slides, patient_N = slides_of(patients(61))
    fold_N = patient_folds(slides, patient_N, folds, rng())
    fold_of = dict(zip(patient_N, fold_N, strict=True))
    assert [fold_of[patient] for patient in patient_N] == fold_N.tolist()
    event_of = dict(zip(patient_N, slides.event_N, strict=True))
    for wanted in ((True,), (False,), (True, False)):
        sizes = np.bincount([fold_of[patient] for patient in fold_of if event_of[patient] in wanted], minlength=folds)
        assert sizes.max() - sizes.min() <= 1


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows() -> None:
    slides, patient_N = slides_of(patients(40))
    fold_N = patient_folds(slides, patient_N, 4, rng())
    order = rng(7).permutation(len(patient_N))
    shuffled_N = patient_folds(slides.take(order), [patient_N[row] for row in order], 4, rng())
    np.testing.assert_array_equal(shuffled_N, fold_N[order])
    assert (patient_folds(slides, patient_N, 4, rng(1)) != fold_N).any()


@given(st.integers(2, 6), st.integers(0, 20), st.integers(0, 20), st.integers(0, 99))
def test_every_fold_gets_an_event_or_the_folds_are_refused(folds: int, events: int, censored: int, seed: int) -> None:
    if not events + censored:
        return
    outcomes = Outcomes.of(np.arange(events + censored) < events, np.ones(events + censored))
    names = [str(number) for number in range(len(outcomes))]
    if events < folds:
        with pytest.raises(DataError, match=f"{events} of {len(outcomes)} patients had the event"):
            patient_folds(outcomes, names, folds, rng(seed))
        return
    fold_N = patient_folds(outcomes, names, folds, rng(seed))
    assert set(fold_N[outcomes.event_N]) == set(range(folds))


def test_one_fold_is_none() -> None:
    with pytest.raises(ValueError, match="folds is 1"):
        patient_folds(patients(), [str(number) for number in range(60)], 1, rng())


def test_standardising_uses_the_training_rows_only() -> None:
    train_MD = np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]])
    np.testing.assert_allclose(standardised(train_MD, np.array([[3.0, 9.0]])), [[0, 0]])
    scaled_MD = standardised(train_MD, train_MD)
    np.testing.assert_allclose([scaled_MD[:, 0].mean(), scaled_MD[:, 0].std()], [0, 1], atol=1e-12)
    assert (scaled_MD[:, 1] == 0).all()


def hazards_of_one_column(outcomes: int, noise_columns: int, strength: float) -> tuple[np.ndarray, Outcomes]:
    value_ND = rng(4).normal(size=(outcomes, 1 + noise_columns))
    time_N = rng(5).exponential(np.exp(-strength * value_ND[:, 0]))
    return value_ND, Outcomes.of(rng(6).random(outcomes) < 0.7, time_N)


def test_the_chosen_penalty_is_high_for_noise_and_low_for_a_strong_signal() -> None:
    penalties, fold_N = [1e-3, 1.0, 1e4], np.arange(100) % 5
    noise_ND, outcomes = hazards_of_one_column(100, 30, strength=0.0)
    assert choose_penalty(noise_ND, outcomes, fold_N, penalties) == 1e4
    signal_ND, outcomes = hazards_of_one_column(100, 0, strength=2.0)
    assert choose_penalty(signal_ND, outcomes, fold_N, penalties) < 1e4
    constant_ND = np.ones((100, 2))
    assert choose_penalty(constant_ND, outcomes, fold_N, penalties) == 1e4  # all equal: the largest


def test_folds_must_be_several_and_given_for_everybody() -> None:
    outcomes = patients()
    with pytest.raises(DataError, match="all 60 patients are in fold 0"):
        choose_penalty(covariates(outcomes), outcomes, np.zeros(60, int), [1.0])
    with pytest.raises(ValueError, match=r"folds have shape \(2,\)"):
        choose_penalty(covariates(outcomes), outcomes, np.zeros(2, int), [1.0])
    with pytest.raises(ValueError, match="no penalty"):
        choose_penalty(covariates(outcomes), outcomes, np.arange(60) % 2, [])
