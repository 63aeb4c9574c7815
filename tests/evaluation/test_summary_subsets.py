"""Subgroups, the distance between them, and what no training image lies near."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmkd.evaluation.format.results import CLEAN, GAP, Result
from mmkd.evaluation.summary.summary import results_from_predictions
from predicted_world import QUICK, predicted, shares


def write(folder: Path, sex: Sequence[str], **facts: Sequence[str]) -> None:
    """The first half of 80 samples are all right; of the second half the student has every other pair right."""
    half = np.arange(80) < 40
    for model, later in (("student", 0.5), ("teacher", 0.25)):
        right = half | ((np.arange(80) // 2) % 4 < 4 * later)
        predicted(folder, model, "set", right.tolist(), facts={"sex": sex, **facts})


def of(rows: list[Result], subset: str, model: str = "student", metric: str = "accuracy") -> Result:
    (row,) = [row for row in rows if (row.subset, row.model, row.metric) == (subset, model, metric)]
    return row


HALVES = ["f"] * 40 + ["m"] * 40


def test_subgroups_and_their_gap_by_hand(tmp_path: Path) -> None:
    write(tmp_path, HALVES)
    rows = results_from_predictions(tmp_path, ["teacher"], QUICK).results
    assert (of(rows, "sex=f").value, of(rows, "sex=m").value, of(rows, "sex=f").n) == (1.0, 0.5, 40)
    gap = of(rows, f"sex={GAP}")
    assert (gap.value, gap.n, gap.note) == (0.5, 80, "best f, worst m")
    assert gap.low is not None
    assert 0 < gap.low < 0.5 < (gap.high or 0)
    assert of(rows, f"sex={GAP}", "teacher").value == 0.75
    assert of(rows, "sex=m", "best_teacher").value == 0.25


def test_all_models_are_compared_in_a_subgroup_and_not_by_their_gaps(tmp_path: Path) -> None:
    write(tmp_path, HALVES)
    rows = [row for row in results_from_predictions(tmp_path, ["teacher"], QUICK).comparisons if "sex" in row.subset]
    assert {row.subset for row in rows} == {"sex=f", "sex=m"}
    assert {row.p_holm for row in rows} == {None}
    assert next(r for r in rows if (r.subset, r.metric, r.rival) == ("sex=m", "accuracy", "teacher")).difference == 0.25


def test_small_subgroups_are_named_and_have_no_rows(tmp_path: Path) -> None:
    write(tmp_path, ["f"] * 61 + ["m"] * 19, site=[""] * 80)
    rows = results_from_predictions(tmp_path, [], QUICK).results
    assert {row.subset for row in rows} == {"all", "sex=f"}
    assert {row.note for row in rows if row.metric == "accuracy" and row.subset == "all" and row.dataset == "set"} == {
        "without rows: sex: 1 of 2 values have fewer than 20 samples"
    }


def test_a_subgroup_of_one_class_keeps_the_metrics_that_are_defined(tmp_path: Path) -> None:
    write(tmp_path, ["even", "odd"] * 40)  # classes alternate
    rows = results_from_predictions(tmp_path, [], QUICK).results
    assert {row.metric for row in rows if row.subset == "sex=odd"} == {"accuracy", "balanced_accuracy"}


def test_without_an_audit_nothing_is_clean(tmp_path: Path) -> None:
    write(tmp_path, HALVES)
    assert CLEAN not in {row.subset for row in results_from_predictions(tmp_path, [], QUICK).results}


@pytest.mark.parametrize("leaked", [range(30), range(80)])
def test_clean_rows_leave_leaked_samples_out(tmp_path: Path, leaked: range) -> None:
    write(tmp_path, HALVES)
    for model in ("student", "teacher"):
        predicted(tmp_path, model, "untouched", shares(0.5))
    found = {"set": {str(row) for row in leaked}}
    summary = results_from_predictions(tmp_path, ["teacher"], QUICK, leaked=lambda name: found.get(name, ()))
    rows = [
        row for row in summary.results if row.subset == CLEAN and row.metric == "accuracy" and row.model == "student"
    ]
    by_name = {(row.dataset, row.modality): row for row in rows}
    assert by_name["untouched", "ct"].value == 0.5
    if len(leaked) == 80:
        assert ("set", "ct") not in by_name
        assert by_name["mean", "mean"].value == 0.5
        return
    assert (by_name["set", "ct"].value, by_name["set", "ct"].n) == (30 / 50, 50)
    assert by_name["mean", "mean"].value == pytest.approx((0.6 + 0.5) / 2)
    gains = [row for row in summary.comparisons if row.subset == CLEAN]
    assert {row.rival for row in gains} == {"teacher", "best_teacher"}
