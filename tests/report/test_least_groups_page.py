"""Data sets with few groups on the page and in its tables: named, shown, and in no mean."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmkd.evaluation.format.predictions import PredictionFacts
from mmkd.evaluation.summary.summary import results_from_predictions, write_summary
from mmkd.folders.atomic import write_json
from mmkd.report.details import corruptions
from mmkd.report.pages import ReportContext, write_report
from mmkd.report.source import Evaluated, read_evaluated
from mmkd.report.summary import matrix
from mmkd.report.task_section import data_set_table
from mmkd.statistics.metrics import Array
from predicted_world import QUICK, predicted, shares, written

CONTEXT = ReportContext("small", 0, {"teacher": "MIT"})
FEW = "few (7 groups, least_groups asks for 20)"
SHARES = {"student": (0.9, 0.5, 0.1), "teacher": (0.5, 0.6, 0.9)}
"""On `one` (CT), `two` (MRI) and `few` (ultrasound), which has seven patients."""


def evaluation(folder: Path, least_groups: int = 20, only: str = "") -> Path:
    """A finished one, of zero-shot classification and of corrupted pictures."""
    for model, values in SHARES.items():
        for dataset, modality, share in zip(("one", "two", "few"), ("ct", "mri", "ultrasound"), values, strict=True):
            if only in ("", dataset):
                group = [f"p{row % 7}" if dataset == "few" else "" for row in range(40)]
                predicted(folder, model, dataset, shares(share), modality, group)
                about = PredictionFacts(model, dataset, modality, "robustness")
                written(folder, about, corrupted(share), group)
    resampling = replace(QUICK, least_groups=least_groups)
    write_summary(folder, results_from_predictions(folder, ["teacher"], resampling))
    facts: dict[str, object] = {"kind": "evaluation", "digest": ""}
    write_json(
        folder / "manifest.json", {**facts, **{part: {} for part in ("settings", "inputs", "counts", "versions")}}
    )
    return folder


def corrupted(share: float) -> dict[str, Array]:
    """All clean pictures are right, and this share of the blurred ones."""
    right = np.array(shares(share))
    blurred = {f"corrupted:motion_blur:{severity}": right for severity in range(1, 6)}
    return {"label": np.arange(40, dtype=np.int32) % 2, "clean": np.ones(40, bool), **blurred}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return read_evaluated(evaluation(tmp_path_factory.mktemp("evaluate")), CONTEXT)


def page(folder: Path, least_groups: int = 20, only: str = "") -> str:
    write_report(evaluation(folder / "evaluate", least_groups, only), folder, CONTEXT)
    text = (folder / "index.html").read_text(encoding="utf-8")
    return re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_the_page_names_the_set_in_the_summary_the_ranks_and_each_task(tmp_path: Path) -> None:
    text = page(tmp_path)
    line = f"Zero-shot classification, Robustness to corruptions: in no mean, ranking or rank: {FEW}."
    assert text.count(line) == 2  # summary and overall ranks
    assert text.count(f"<p>In no mean, ranking or rank: {FEW}.</p>") == 2  # the tasks
    assert "few, in no mean" in text  # the forest plot
    assert "70.0 %" in text  # the student's mean, (90 + 50) / 2
    assert "in no mean" not in page(tmp_path / "all", least_groups=1)


def test_the_matrix_has_no_row_for_its_modality(evaluated: Evaluated) -> None:
    table = matrix(evaluated)
    assert table is not None
    rows = [(row.name, [cell.text for cell in row.styled_cells]) for row in table.rows if row.kind != "group"]
    assert [name for name, _ in rows] == ["ct", "mri", "all data sets"] * 2
    assert [cells[0].split()[-1] for _, cells in rows[:3]] == ["+40.0", "-10.0", "+15.0"]


def test_the_table_of_data_sets_shows_it_beside_a_mean_without_it(evaluated: Evaluated, tmp_path: Path) -> None:
    table = data_set_table(evaluated, "zero_shot")
    assert table.heads == ["", "few", "one", "two", "mean"]
    assert table.caption.endswith("; not in the mean: few")
    (student,) = [row for row in table.rows if row.name == "student"]
    assert [cell.text for cell in student.styled_cells] == ["10.0", "90.0", "50.0", "70.0"]
    write_report(evaluated.folder, tmp_path, CONTEXT)
    assert "accuracy; not in the mean: few}" in (tmp_path / "tables/zero_shot.tex").read_text()


def test_means_over_corruptions_leave_it_out(evaluated: Evaluated) -> None:
    detail = corruptions(evaluated, "robustness")
    assert detail.table is not None
    found = {row.name: [cell.text for cell in row.styled_cells] for row in detail.table.rows}
    models = detail.table.heads[1:]
    assert found["motion blur"][models.index("student")] == "70.0"
    assert found["motion blur"][models.index("teacher")] == "55.0"
    assert {cell.title for cell in detail.table.rows[0].styled_cells[:2]} == {"2 data sets"}


@pytest.mark.parametrize("sets", ["few", ""])
def test_where_no_set_counts_the_page_is_made_and_says_so(sets: str, tmp_path: Path) -> None:
    text = page(tmp_path, least_groups=41, only=sets)
    assert "No data set that was compared has groups enough for a mean, so there is no answer." in text
    assert "no data set counts in it" in text
    assert "Ranks over all tasks" not in text
    assert "few (7 groups, least_groups asks for 41)" in text
    head, *rows = (tmp_path / "tables/zero_shot.csv").read_text().splitlines()
    assert head == ("model,few" if sets else "model,few,one,two")
    assert "student,10.0" in "".join(rows)


def test_two_sets_of_which_none_counts(tmp_path: Path) -> None:
    """There is no mean to be taken out of the table."""
    folder = evaluation(tmp_path, least_groups=41, only="one")
    evaluation(folder, least_groups=41, only="few")
    assert data_set_table(read_evaluated(folder, CONTEXT), "zero_shot").heads == ["", "few", "one"]
