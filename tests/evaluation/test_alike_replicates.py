"""Small sets on which all replicates are one number: exact intervals and tests, or none, and no claims."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from mmkd.evaluation.format.numbers import NO_INTERVAL, gain, spread
from mmkd.evaluation.format.predictions import PredictionFacts
from mmkd.evaluation.format.results import ALIKE, UNCLEARED, Comparison, Result
from mmkd.evaluation.summary.summary import Summary, results_from_predictions
from mmkd.evaluation.summary.tables import printed
from mmkd.report.summary import verdict
from predicted_world import QUICK, predicted, written

SMALL = 20
PERFECT, ONE_ANSWER = [True] * SMALL, [True, False] * (SMALL // 2)  # classes alternate, so half are of the first
GROUPS = [f"patient{row // 4}" for row in range(SMALL)]


def summary(folder: Path) -> Summary:
    return results_from_predictions(folder, ["teacher"], QUICK)


def result(folder: Path, model: str, metric: str = "accuracy", dataset: str = "set") -> Result:
    rows = summary(folder).results
    return next(row for row in rows if (row.model, row.metric, row.dataset) == (model, metric, dataset))


def against_teacher(folder: Path, dataset: str, metric: str = "accuracy") -> Comparison:
    rows = summary(folder).comparisons
    return next(row for row in rows if (row.rival, row.dataset, row.metric) == ("teacher", dataset, metric))


@pytest.mark.parametrize("samples", [2, 4, 10, 40])
@pytest.mark.parametrize("is_right", [True, False])
def test_a_small_set_without_any_error_does_not_show_that_there_are_none(
    tmp_path: Path, samples: int, is_right: bool
) -> None:
    predicted(tmp_path, "student", "set", [is_right] * samples)
    for dataset in ("set", "mean"):
        row = result(tmp_path, "student", dataset=dataset)
        expected = binomtest(samples * is_right, samples).proportion_ci(0.95, "exact")
        assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
        assert row.high is not None
        assert row.low is not None
        assert row.high - row.low > 0
        assert f"95% exact interval (Clopper-Pearson) over {samples} independent units" in row.protocol
        assert "exact interval" in row.note
        assert ALIKE not in row.note


def test_groups_are_the_units(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "set", PERFECT, group=GROUPS)
    assert result(tmp_path, "student").low == pytest.approx(0.025 ** (1 / 5))


def test_a_share_within_has_no_exact_interval_and_says_so(tmp_path: Path) -> None:
    """Draws within classes leave a constant answer as it is."""
    predicted(tmp_path, "student", "set", ONE_ANSWER)
    row = result(tmp_path, "student")
    assert (row.low, row.high) == (0.5, 0.5)
    assert row.note == f"{ALIKE}: the interval says nothing"
    assert spread(row) == f"50.0 % {NO_INTERVAL}"


def test_neither_has_an_auc_of_one_nor_a_multi_label_card(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "set", PERFECT)
    assert ALIKE in result(tmp_path, "student", "macro_auc").note
    label = np.arange(SMALL) % 2 == 0
    columns = {"label:a": label, "label:b": ~label, "score:a": label * 1.0, "score:b": ~label * 1.0}
    written(tmp_path, PredictionFacts("student", "several", "ct", "zero_shot"), columns)
    assert ALIKE in result(tmp_path, "student", dataset="several").note


def test_where_replicates_vary_the_interval_is_that_of_percentiles(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "set", [False, *PERFECT[1:]])
    row = result(tmp_path, "student")
    assert "95% percentile interval" in row.protocol
    assert row.note == ""


@pytest.mark.parametrize("dataset", ["set", "mean"])
def test_a_difference_has_the_p_of_mcnemar_where_samples_are_independent(tmp_path: Path, dataset: str) -> None:
    predicted(tmp_path, "student", "set", PERFECT)
    predicted(tmp_path, "teacher", "set", ONE_ANSWER)
    row = against_teacher(tmp_path, dataset)
    assert (row.difference, row.low, row.high) == (0.5, None, None)
    assert row.p == row.p_exact == pytest.approx(binomtest(10, 10).pvalue)
    assert row.note == f"{ALIKE}: no interval; p is McNemar's"
    assert gain(row) == f"+50.0 points {NO_INTERVAL}"
    assert verdict(row) == "ahead"
    auc = against_teacher(tmp_path, dataset, "macro_auc")
    assert (auc.low, auc.p, auc.p_exact, verdict(auc)) == (None, 1, None, "level")


def test_three_samples_more_are_no_proof(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "set", PERFECT)
    predicted(tmp_path, "teacher", "set", ONE_ANSWER, group=())
    predicted(tmp_path, "student", "few", [True] * 6)
    predicted(tmp_path, "teacher", "few", [True, False] * 3)
    row = against_teacher(tmp_path, "few")
    assert (row.p, verdict(row)) == (0.25, "level")


@pytest.mark.parametrize("dataset", ["set", "mean"])
def test_a_difference_of_groups_says_nothing(tmp_path: Path, dataset: str) -> None:
    """Every group has as many of both classes, so the constant answer has half of each."""
    predicted(tmp_path, "student", "set", PERFECT, group=GROUPS)
    predicted(tmp_path, "teacher", "set", ONE_ANSWER, group=GROUPS)
    row = against_teacher(tmp_path, dataset)
    assert (row.low, row.high, row.p, verdict(row)) == (None, None, 1, "level")


def test_a_mean_of_such_differences_claims_nothing(tmp_path: Path) -> None:
    for dataset in ("one", "two", "three"):
        predicted(tmp_path, "student", dataset, PERFECT)
        predicted(tmp_path, "teacher", dataset, ONE_ANSWER)
    found = summary(tmp_path)
    rows = [row for row in found.comparisons if row.dataset == "mean" and row.metric == "accuracy"]
    assert {row.subset for row in rows} == {"all", "in general"}
    assert {(row.low, row.p, verdict(row)) for row in rows} == {(None, 1, "level")}
    text = printed(found.results, found.comparisons, ["teacher"])
    assert f"+50.0 {NO_INTERVAL}" in text
    assert f"50.0 {NO_INTERVAL}" in text


def test_equal_models_have_no_difference(tmp_path: Path) -> None:
    predicted(tmp_path, "student", "set", PERFECT)
    predicted(tmp_path, "teacher", "set", PERFECT)
    row = against_teacher(tmp_path, "set")
    assert (row.difference, row.low, row.high, row.p, row.note) == (0, 0, 0, 1, "")


@pytest.mark.parametrize(("group", "is_marked"), [(GROUPS, False), ([f"p{row // 10}" for row in range(SMALL)], True)])
def test_a_null_is_cleared_by_the_exact_interval(tmp_path: Path, group: list[str], is_marked: bool) -> None:
    """All of five groups right: more than 0.478 with 97.5 %. The null reaches 0.25; of two groups it is 0.158."""
    quarter = [row % 4 == 0 for row in range(SMALL)]
    if is_marked:
        quarter = [row % 10 == 0 or row % 10 == 5 for row in range(SMALL)]  # as many in both groups
    predicted(tmp_path, "student", "set", PERFECT, group=group)
    predicted(tmp_path, "chance", "set", quarter, group=group)
    assert (UNCLEARED in result(tmp_path, "student").note) == is_marked
