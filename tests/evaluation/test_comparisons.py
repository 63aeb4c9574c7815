"""One model against the others: signs, tests by hand and against SciPy, the family of Holm's correction."""

from pathlib import Path

import numpy as np
import pytest
from delong_directly import direct
from scipy.stats import binomtest

from mmkd.evaluation.format.predictions import PredictionFacts, read_predictions
from mmkd.evaluation.format.results import Comparison, focus_model
from mmkd.evaluation.summary.comparisons import exact_tests
from mmkd.evaluation.summary.summary import results_from_predictions
from mmkd.evaluation.tasks.table import TASKS
from mmkd.statistics.across_sets import holm
from mmkd.statistics.paired import delong_macro_test
from predicted_world import QUICK, predicted, shares, written

ZERO_SHOT = TASKS["zero_shot"]


@pytest.mark.parametrize(
    ("models", "teachers", "focus"),
    [
        (["a", "student"], ["a"], "student"),
        (["a", "b", "c"], ["a"], "b"),
        (["chance", "theirs", "other"], [], "theirs"),
        (["chance", "a", "b"], ["a", "b"], "a"),
        (["chance", "teachers_concat"], [], ""),
        ([], [], ""),
    ],
)
def test_the_focus_is_the_student_or_the_first_model_that_is_no_teacher(
    models: list[str], teachers: list[str], focus: str
) -> None:
    assert focus_model(models, teachers) == focus


def test_teachers_alone_are_not_compared(tmp_path: Path) -> None:
    for model, share in (("a", 0.75), ("b", 0.5), ("chance", 0.5)):
        predicted(tmp_path, model, "set", shares(share))
    assert results_from_predictions(tmp_path, ["a", "b"], QUICK, models=["a", "b"]).comparisons == []


def test_without_a_student_the_first_model_asked_for_is_compared(tmp_path: Path) -> None:
    for model, share in (("b", 0.75), ("a", 0.5), ("chance", 0.5)):
        predicted(tmp_path, model, "set", shares(share))
    rows = results_from_predictions(tmp_path, [], QUICK, models=["b", "a"]).comparisons
    assert {(row.model, row.rival) for row in rows} == {("b", "a"), ("b", "chance")}
    assert results_from_predictions(tmp_path, [], QUICK).comparisons == []


def compared(folder: Path) -> list[Comparison]:
    for number, share in enumerate((0.9, 0.7, 0.6)):
        predicted(folder, "student", f"set{number}", shares(share))
        predicted(folder, "teacher", f"set{number}", shares(0.5))
        predicted(folder, "chance", f"set{number}", shares(0.4))
    return results_from_predictions(folder, ["teacher"], QUICK).comparisons


def test_holm_counts_the_primary_metric_of_single_sets_against_all_rivals(tmp_path: Path) -> None:
    rows = compared(tmp_path)
    family = [row for row in rows if row.p_holm is not None]
    assert len(family) == 3 * 3  # sets x (teacher, best_teacher, chance)
    assert {(row.metric, row.subset) for row in family} == {("accuracy", "all")}
    assert "mean" not in {row.dataset for row in family}
    np.testing.assert_allclose([row.p_holm for row in family], holm(np.array([row.p for row in family])))


def test_differences_and_their_mean_by_hand(tmp_path: Path) -> None:
    rows = {(row.rival, row.dataset, row.subset): row for row in compared(tmp_path) if row.metric == "accuracy"}
    assert rows["teacher", "set1", "all"].difference == pytest.approx(0.2)
    assert rows["chance", "mean", "all"].difference == pytest.approx((0.9 + 0.7 + 0.6) / 3 - 0.4)
    wide, narrow = rows["teacher", "mean", "in general"], rows["teacher", "mean", "all"]
    assert wide.difference == narrow.difference
    assert (wide.low or 1) < (narrow.low or 0)


def test_mcnemar_stands_beside_accuracy_and_delong_beside_auc(tmp_path: Path) -> None:
    rows = {row.metric: row for row in compared(tmp_path) if (row.rival, row.dataset) == ("best_teacher", "set0")}
    assert rows["accuracy"].exact == "McNemar"
    assert rows["accuracy"].p_exact == pytest.approx(binomtest(16, 16).pvalue)  # 36 right against 20 of the same
    assert rows["macro_auc"].exact == "DeLong"
    assert 0 < (rows["macro_auc"].p_exact or 1) < 1e-4
    assert (rows["macro_f1"].exact, rows["macro_f1"].p_exact) == ("", None)


def test_means_and_grouped_samples_have_no_exact_test(tmp_path: Path) -> None:
    for model, share in (("student", 0.75), ("teacher", 0.5)):
        predicted(tmp_path, model, "set", shares(share), group=[f"p{row // 2}" for row in range(40)])
    assert {row.exact for row in results_from_predictions(tmp_path, ["teacher"], QUICK).comparisons} == {""}


def test_three_classes_have_mcnemar_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for model in ("a", "b"):
        columns = {f"score:{name}": rng.random(30) for name in "xyz"}
        about = PredictionFacts(model, "set", "ct", "zero_shot")
        written(tmp_path, about, {"label": np.arange(30, dtype=np.int32) % 3, **columns})
    first, second = (read_predictions(tmp_path / f"predictions/zero_shot/set/{model}.parquet") for model in "ab")
    assert set(exact_tests(ZERO_SHOT, first, second)) == {"accuracy"}


def test_delong_of_complements_is_delong_of_one_auc() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 60)
    first, second = rng.normal(size=60) + label, rng.normal(size=60) + label / 2
    value, covariance = direct(np.stack([first, second]), label == 1)
    found = delong_macro_test(np.stack([-first, first], axis=1), np.stack([-second, second], axis=1), label)
    contrast = np.array([1, -1])
    assert found.difference == pytest.approx(contrast @ value)
    assert found.standard_error == pytest.approx(np.sqrt(contrast @ covariance @ contrast))


def test_delong_of_a_mean_of_aucs_is_the_contrast_of_their_covariance() -> None:
    """Four AUCs of class 1 (a column of class 0 counts against it), contrast (1, 1, -1, -1) / 2."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 80)
    first, second = (rng.normal(size=(80, 2)) + np.eye(2)[label] for _ in range(2))
    value, covariance = direct(np.stack([-first[:, 0], first[:, 1], -second[:, 0], second[:, 1]]), label == 1)
    contrast = np.array([1, 1, -1, -1]) / 2
    found = delong_macro_test(first, second, label)
    assert found.difference == pytest.approx(contrast @ value)
    assert found.standard_error == pytest.approx(np.sqrt(contrast @ covariance @ contrast))
