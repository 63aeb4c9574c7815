"""Ranks over data sets: by hand, and against SciPy."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from mmkd.evaluation.format.predictions import PredictionFacts
from mmkd.evaluation.format.results import read_overall
from mmkd.evaluation.summary.summary import results_from_predictions, write_summary
from mmkd.evaluation.summary.tables import overall_tables
from predicted_world import QUICK, predicted, shares, written

SHARES = {
    "student": (0.9, 0.8, 0.7, 0.9),
    "teacher": (0.5, 0.9, 0.6, 0.5),
    "other": (0.4, 0.5, 0.5, 0.5),
}


def write(folder: Path, sets: int) -> None:
    for model, values in {**SHARES, "chance": (0.1,) * 4}.items():
        for number, share in enumerate(values[:sets]):
            predicted(folder, model, f"set{number}", shares(share))


def test_ranks_by_hand_without_nulls_and_best_teacher(tmp_path: Path) -> None:
    write(tmp_path, 4)
    (ranking,) = results_from_predictions(tmp_path, ["teacher"], QUICK).rankings
    assert (ranking.task, ranking.metric, ranking.data_sets) == ("zero_shot", "accuracy", 4)
    assert ranking.models == ["student", "teacher", "other"]
    assert ranking.mean_ranks == [1.25, (2 + 1 + 2 + 2.5) / 4, (3 + 3 + 3 + 2.5) / 4]
    expected = friedmanchisquare(*(SHARES[model] for model in ranking.models))
    assert (ranking.statistic, ranking.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert ranking.alike == [["student", "teacher", "other"]]  # 1.625 apart, Nemenyi asks for 1.657
    assert ranking.difference == pytest.approx(1.657, abs=5e-4)  # 2.343 sqrt(3 4 / (6 4)), Demsar's table 5
    assert np.diag(ranking.p_signed_rank).tolist() == [1.0] * 3


def test_two_data_sets_or_one_model_rank_nothing(tmp_path: Path) -> None:
    write(tmp_path / "two", 2)
    for number in range(3):
        predicted(tmp_path / "one", "student", f"set{number}", shares(0.5))
        predicted(tmp_path / "one", "chance", f"set{number}", shares(0.5))
    assert results_from_predictions(tmp_path / "two", [], QUICK).rankings == []
    assert results_from_predictions(tmp_path / "one", [], QUICK).rankings == []


def test_a_model_that_missed_a_data_set_is_not_ranked(tmp_path: Path) -> None:
    write(tmp_path, 4)
    predicted(tmp_path, "guest", "set0", shares(1.0))
    (ranking,) = results_from_predictions(tmp_path, [], QUICK).rankings
    assert "guest" not in ranking.models


def test_overall_ranks_by_hand_over_two_tasks(tmp_path: Path) -> None:
    """Zero-shot on four sets by accuracy; retrieval on one of them, where the teacher is best."""
    write(tmp_path, 4)
    for model, rank in (("student", 3.0), ("teacher", 1.0), ("other", 11.0), ("chance", 50.0)):
        ways = ("image_to_text", "text_to_image")
        columns = {"gallery": np.full(6, 60), **{f"{way}_rank": np.full(6, rank) for way in ways}}
        written(tmp_path, PredictionFacts(model, "set0", "ct", "retrieval"), columns)
    summary = results_from_predictions(tmp_path, ["teacher"], QUICK)
    rows = {(row.task, row.model): row for row in summary.overall}
    assert [row.model for row in summary.overall if row.task == "all"] == ["student", "teacher", "other"]
    every = [rows["all", model] for model in ("student", "teacher", "other")]
    # zero-shot as above; in retrieval recalls at 1, 5 and 10 rank teacher, student, other
    assert [row.mean_rank for row in every] == [(5 + 2) / 5, (7.5 + 1) / 5, (11.5 + 3) / 5]
    assert [row.firsts for row in every] == [3, 2, 0]
    assert {(row.settings, row.data_sets, row.models) for row in every} == {(5, 4, 3)}
    assert rows["zero_shot", "student"].mean_rank == 1.25
    assert rows["retrieval", "teacher"].firsts == 1
    assert all(row.mean_rank_low <= row.mean_rank <= row.mean_rank_high for row in every)
    write_summary(tmp_path, summary)
    assert read_overall(tmp_path) == summary.overall
    (titled,) = overall_tables(summary.overall)
    assert titled[0] == "All tasks: ranks in 5 settings (task x data set) on 4 data sets"
