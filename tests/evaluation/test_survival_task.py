"""Survival as a task: patients, folds and splits, what predictions hold, and the metrics that follow from them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sksurv.metrics import integrated_brier_score as oracle_integrated_brier
from survival_world import counts, covariates, drawn, once, patients, structured

from mmkd.cards.card import Card
from mmkd.cards.samples import FileImage, Sample, Split, Survival
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import (
    Predicted,
    PredictionFacts,
    Predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from mmkd.evaluation.heads.settings import SurvivalSettings
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, Embeddings
from mmkd.evaluation.survival.cohort import cohort_of
from mmkd.evaluation.survival.forecast import HIGH, LOW, above_median, columns_of, forecast_of, risk_groups
from mmkd.evaluation.tasks.survival import TASK
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes

FACTS = PredictionFacts("age", "cohort", "other", "survival", "small")
SETTINGS = SurvivalSettings(folds=3, times=4)


def card(covariates: dict[str, list[str]] | None = None, reader: str = "table") -> Card:
    """Its path leads nowhere: the samples are made by hand."""
    return Card.model_validate(
        {
            "id": "cohort",
            "modality": "other",
            "tasks": ["survival"],
            "licence": "none",
            "layout": {"reader": reader, "path": "nowhere.csv"},
            "covariates": {"age": ["age"], "both": ["age", "grade"]} if covariates is None else covariates,
        }
    )


def cohort(outcomes: Outcomes, splits: Sequence[Split] = ("test",)) -> list[Sample]:
    value_ND = covariates(outcomes, 2)
    return [
        Sample(
            id=f"slide {n}",
            split=splits[n % len(splits)],
            group=f"patient {n:02d}",
            survival=Survival(float(outcomes.time_N[n]), bool(outcomes.event_N[n])),
            covariates={"age": float(value_ND[n, 0]), "grade": float(value_ND[n, 1])},
            facts={"sex": "f" if n % 2 else "m"},
        )
        for n in range(len(outcomes))
    ]


def embedded(samples: Sequence[Sample], model: str = "age", seed: int = 0) -> EmbeddedDataSet[Any]:
    return EmbeddedDataSet(model, card(), samples, [], [], SETTINGS, seed)


def plain(predicted: Predicted) -> dict[str, float]:
    measured = TASK.measure(predicted.columns, np.ones((1, len(predicted.id)), np.uint16))
    return {name: float(value_1[0]) for name, value_1 in measured.items()}


def assert_same(one: Predicted, other: Predicted) -> None:
    order = np.argsort(one.id), np.argsort(other.id)
    assert np.array(one.id)[order[0]].tolist() == np.array(other.id)[order[1]].tolist()
    for name, value_N in one.columns.items():
        np.testing.assert_allclose(value_N[order[0]], other.columns[name][order[1]], rtol=1e-9, err_msg=name)


def test_every_patient_has_one_row_and_every_model_the_same_rows() -> None:
    samples = cohort(patients())
    age, both = (TASK.predict(embedded(samples, model)) for model in TASK.own_models(card(), samples))
    assert age.id == both.id == [f"patient {n:02d}" for n in range(60)]
    assert set(age.group) == {""}
    assert age.facts == {"sex": ["m", "f"] * 30}
    np.testing.assert_array_equal(age.columns["fold"], both.columns["fold"])
    np.testing.assert_array_equal(np.bincount(age.columns["fold"]), [20, 20, 20])


def test_a_covariate_that_tells_the_time_is_measured_so_by_all_metrics() -> None:
    found = plain(TASK.predict(embedded(cohort(patients(200)))))
    assert set(found) == {"harrell_c", "uno_c", "mean_dynamic_auc", "integrated_brier", "brier_gain"}
    assert found["harrell_c"] > 0.6
    assert found["uno_c"] > 0.6
    assert found["mean_dynamic_auc"] > 0.6
    assert found["brier_gain"] > 0.02
    assert TASK.lower_is_better == ("integrated_brier",)


def test_a_covariate_that_tells_nothing_gains_nothing() -> None:
    outcomes = patients(400)
    noise_N = np.random.default_rng(9).normal(size=400)
    samples = [
        replace(sample, covariates={"age": float(noise), "grade": 0.0})
        for sample, noise in zip(cohort(outcomes), noise_N, strict=True)
    ]
    found = plain(TASK.predict(embedded(samples)))
    assert abs(found["harrell_c"] - 0.5) < 0.06
    assert found["brier_gain"] < 0.01


def test_the_order_of_rows_changes_nothing() -> None:
    samples = cohort(patients())
    shuffled = [samples[n] for n in np.random.default_rng(4).permutation(60)]
    assert_same(TASK.predict(embedded(samples)), TASK.predict(embedded(shuffled)))


def test_slides_of_a_patient_are_pooled_and_copies_of_a_slide_change_nothing() -> None:
    samples = cohort(patients())
    twice = [replace(sample, id=f"{sample.id} again") for sample in samples[:20]]
    assert_same(TASK.predict(embedded(samples)), TASK.predict(embedded(samples + twice)))
    apart = [
        replace(sample, id=f"{sample.id}, {shift}", covariates={"age": sample.covariates["age"] + shift, "grade": 0.0})
        for sample in samples
        for shift in (-2.0, 2.0)
    ]
    assert_same(TASK.predict(embedded(samples)), TASK.predict(embedded(apart)))


def test_predictions_forget_nothing_that_metrics_need(tmp_path: Path) -> None:
    predicted = TASK.predict(embedded(cohort(patients(), splits=("train", "test"))))
    write_predictions(tmp_path, FACTS, predicted)
    stored = read_predictions(predictions_path(tmp_path, FACTS))
    weight_BN = counts(patients(30))
    for name, value_B in TASK.measure(predicted.columns, weight_BN).items():
        np.testing.assert_array_equal(TASK.measure(stored.columns, weight_BN)[name], value_B)
    again = columns_of(forecast_of(stored.columns))
    for name, value_N in predicted.columns.items():
        np.testing.assert_array_equal(again[name], value_N)


def test_weights_are_copies() -> None:
    predicted = TASK.predict(embedded(cohort(patients())))
    weight_BN = counts(patients())
    measured = TASK.measure(predicted.columns, weight_BN)
    for b, rows in enumerate(drawn(weight_BN)):
        # the times stay, so a resample must have somebody before the first and beyond the last of them
        copied = {name: value_N[rows] for name, value_N in predicted.columns.items()}
        for name, value_1 in TASK.measure(copied, np.ones((1, len(rows)))).items():
            np.testing.assert_allclose(measured[name][b], value_1[0], rtol=1e-9, err_msg=name)


def test_a_split_is_predicted_by_a_model_of_training_and_validation_patients() -> None:
    samples = cohort(patients(90), splits=("train", "test", "val"))
    predicted = TASK.predict(embedded(samples))
    assert predicted.id == [sample.group for sample in samples if sample.split == "test"]
    assert set(predicted.columns["fold"]) == {0}
    # the outcomes of the test patients do not reach their risks
    blinded = [
        replace(sample, survival=Survival(sample.survival.time, n % 2 == 0))
        if sample.split == "test" and sample.survival
        else sample
        for n, sample in enumerate(samples)
    ]
    np.testing.assert_array_equal(TASK.predict(embedded(blinded)).columns["risk"], predicted.columns["risk"])


def test_the_integrated_brier_score_of_a_split_is_that_of_scikit_survival() -> None:
    outcomes = patients(120, seed=5)
    predicted = TASK.predict(embedded(cohort(outcomes, splits=("train", "test"))))
    forecast, train = forecast_of(predicted.columns), outcomes.take(np.arange(120) % 2 == 0)
    expected = oracle_integrated_brier(
        structured(train), structured(forecast.outcomes), forecast.survival_NT, forecast.time_T
    )
    np.testing.assert_allclose(plain(predicted)["integrated_brier"], expected, rtol=1e-9)


def test_patients_with_gaps_are_left_out_of_every_model_and_counted(tmp_path: Path) -> None:
    samples = cohort(patients())
    samples[3] = replace(samples[3], covariates={"age": 1.0, "grade": float("nan")})
    samples[5] = replace(samples[5], survival=None)
    predicted = TASK.predict(embedded(samples))
    assert len(predicted.id) == 58
    events = sum(sample.survival.event for n, sample in enumerate(samples) if n != 3 and sample.survival)
    assert predicted.note == (
        f"{events} events of 58 patients; of 60 patients left out: 1 without follow-up, 1 with missing covariates"
    )
    write_predictions(tmp_path, FACTS, predicted)
    assert read_predictions(predictions_path(tmp_path, FACTS)).facts.warning == f"small; {predicted.note}"
    gaps = [replace(sample, covariates={}) if n > 25 else sample for n, sample in enumerate(samples)]
    with pytest.raises(DataError, match="more than half"):
        cohort_of(card(), gaps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event": False}, "0 of 60 patients had the event; expected at least one for each of 3 folds"),
        ({"time": 4.0}, "no time to evaluate at"),
    ],
)
def test_outcomes_without_information_say_so(change: dict[str, float], message: str) -> None:
    samples = [
        replace(sample, survival=replace(sample.survival, **change)) for sample in cohort(patients()) if sample.survival
    ]
    with pytest.raises(DataError, match=f"cohort, survival, age: {message}"):
        TASK.predict(embedded(samples))


def test_folds_without_a_comparable_pair_say_so() -> None:
    """The last three of thirty have the event, one in each fold: nobody outlives them there."""
    time_N = np.arange(1.0, 31.0)
    time_N[27:] = 30.0
    samples = cohort(Outcomes.of(time_N >= 30, time_N))
    with pytest.raises(DataError, match="cohort, survival, age: "):
        TASK.predict(embedded(samples))


def test_a_split_without_events_says_so() -> None:
    samples = cohort(patients(), splits=("train", "test"))
    for split, message in (("train", "0 of 30 training patients had the event"), ("test", "no time to evaluate at")):
        censored = [
            replace(sample, survival=replace(sample.survival, event=False))
            if sample.split == split and sample.survival
            else sample
            for sample in samples
        ]
        with pytest.raises(DataError, match=message):
            TASK.predict(embedded(censored))


def test_a_patient_in_training_and_test_is_refused() -> None:
    samples = cohort(patients(), splits=("train", "test"))
    samples[1] = replace(samples[1], group="patient 00", survival=samples[0].survival)
    with pytest.raises(DataError, match="patient 'patient 00' is in test and train"):
        TASK.predict(embedded(samples))


def test_cards_without_outcomes_or_predictors_are_refused() -> None:
    folders = card().model_copy(update={"layout": card().layout.model_copy(update={"reader": "folders"})})
    assert "needs times and events" in TASK.complaint(folders)
    assert "found none for age" in TASK.complaint(card({"age": []}))
    assert TASK.complaint(card()) == ""
    with pytest.raises(DataError, match="needs pictures or"):
        TASK.own_models(card({}), cohort(patients()))


def pictured(outcomes: Outcomes, value_ND: Array, pictures: int = 3) -> tuple[list[Sample], EmbeddedDataSet[Any]]:
    """Samples with images whose features scatter around the sample's; their mean is exactly it."""
    scatter_PD = np.random.default_rng(7).normal(size=(pictures, value_ND.shape[1]))
    scatter_PD -= scatter_PD.mean(axis=0)
    images = [FileImage(Path(f"{n}/{p}.png")) for n in range(len(outcomes)) for p in range(pictures)]
    samples = [
        replace(sample, images=tuple(images[n * pictures : (n + 1) * pictures]), covariates={})
        for n, sample in enumerate(cohort(outcomes))
    ]
    feature_ID = (value_ND[:, None] + scatter_PD).reshape(-1, value_ND.shape[1])
    embeddings = Embeddings(feature_ID, np.empty((0, value_ND.shape[1])), [])
    return samples, EmbeddedDataSet("model", card({}), samples, images, [embeddings], SETTINGS, 0)


def test_pictures_are_pooled_before_the_cox_model() -> None:
    outcomes = patients()
    value_ND = covariates(outcomes, 2)
    _, pictures = pictured(outcomes, value_ND)
    from_pictures, from_table = TASK.predict(pictures), TASK.predict(embedded(cohort(outcomes), "both"))
    assert not TASK.needs_texts
    assert_same(from_table, Predicted(from_pictures.id, [], {n: from_pictures.columns[n] for n in from_table.columns}))


def test_attention_finds_the_one_picture_that_tells_the_time() -> None:
    """One of six images of a patient is marked, and says how long; in the others the same feature is noise."""
    outcomes, rng = patients(150), np.random.default_rng(3)
    feature_NPD = rng.normal(size=(150, 6, 3)) * [3.0, 0.1, 1.0]
    marked_N = rng.integers(6, size=150)
    feature_NPD[np.arange(150), marked_N] = np.stack([8 - outcomes.time_N, np.full(150, 4.0), np.zeros(150)], axis=1)
    _, whole = pictured(outcomes, np.zeros((150, 3)), pictures=6)
    settings = SETTINGS.model_copy(update={"epochs": 60, "lr": 1e-2, "hidden": 8})
    embeddings = Embeddings(feature_NPD.reshape(-1, 3).astype(np.float32), np.empty((0, 3)), [])
    bags = replace(whole, members=[embeddings], settings=settings)
    predicted = TASK.predict(bags)
    found = plain(predicted)
    assert found["attention_harrell_c"] > found["harrell_c"] + 0.05
    np.testing.assert_array_equal(TASK.predict(bags).columns["attention_risk"], predicted.columns["attention_risk"])


def test_a_predictor_without_pictures_attends_to_nothing() -> None:
    samples, _ = pictured(patients(), covariates(patients(), 2))
    table = [replace(one, images=two.images) for one, two in zip(cohort(patients()), samples, strict=True)]
    assert "attention_harrell_c" not in plain(TASK.predict(embedded(table)))


def test_more_features_than_patients_are_fitted() -> None:
    outcomes = patients(60)
    value_ND = np.random.default_rng(1).normal(size=(60, 90))
    value_ND[:, 0] -= outcomes.time_N
    _, pictures = pictured(outcomes, value_ND, pictures=1)
    assert plain(TASK.predict(pictures))["harrell_c"] > 0.5


def test_a_sample_without_a_picture_is_named() -> None:
    samples, whole = pictured(patients(), covariates(patients(), 2))
    samples[4] = replace(samples[4], images=())
    with pytest.raises(DataError, match=r"sample 'slide 4' has no picture \(1 of 60"):
        TASK.predict(replace(whole, samples=samples))


def test_risk_halves_by_hand_and_their_test() -> None:
    risk_N, fold_N = np.array([1.0, 2, 3, 10, 20, 30, 40]), np.array([0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(above_median(risk_N, fold_N), [False, False, True, False, False, True, True])
    outcomes = patients(300)
    predicted = TASK.predict(embedded(cohort(outcomes)))
    stored = predictions(predicted)
    groups = risk_groups(stored)
    assert list(groups.curves) == [LOW, HIGH]
    assert groups.test.p < 0.05
    time_1 = np.array([8.0])
    assert groups.curves[HIGH].at(time_1) < groups.curves[LOW].at(time_1)
    assert sum(curve.at_risk_U[0] for curve in groups.curves.values()) == once(outcomes).sum()


def test_equal_risks_make_no_halves() -> None:
    predicted = TASK.predict(embedded(cohort(patients())))
    predicted.columns["risk"] = np.zeros(60)
    with pytest.raises(DataError, match="cohort, age: all risks are equal"):
        risk_groups(predictions(predicted))


def predictions(predicted: Predicted) -> Predictions:
    return Predictions(FACTS, predicted.id, predicted.group, predicted.columns)
