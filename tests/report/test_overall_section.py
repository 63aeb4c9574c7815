"""Ranks over all tasks on the page and as a file."""

import csv
from pathlib import Path

import pytest
from report_world import CONTEXT, overall, write_world

from mmkd.evaluation.format.results import OVERALL, read_overall
from mmkd.report.overall import overall_view
from mmkd.report.pages import write_report
from mmkd.report.source import read_evaluated


def test_the_section_shows_ranks_firsts_and_each_task(tmp_path: Path) -> None:
    write_report(write_world(tmp_path / "evaluate"), tmp_path / "report", CONTEXT)
    text = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert "Ranks over all tasks" in text
    assert "1.25 [1.15, 1.35]" in text
    assert "16.5 [0, 22]" in text
    view = overall_view(read_evaluated(tmp_path / "evaluate", CONTEXT))
    assert view is not None
    assert [row.name for row in view["by_task"].rows] == ["student", "BiomedCLIP"]
    assert [cell.small for cell in view["by_task"].rows[0].styled_cells] == ["13.5 of 18", "3 of 4"]
    with (tmp_path / "report/tables/overall.csv").open(encoding="utf-8", newline="") as stream:
        assert [float(row["firsts"]) for row in csv.DictReader(stream)] == [row.firsts for row in overall()]


@pytest.mark.parametrize("written", ["", None])
def test_an_evaluation_without_ranks_has_no_section(tmp_path: Path, written: str | None) -> None:
    """One model, or an evaluation of a version that made none."""
    folder = write_world(tmp_path / "evaluate")
    (folder / OVERALL).unlink()
    if written is not None:
        (folder / OVERALL).write_text(written)
    assert read_overall(folder) == []
    assert overall_view(read_evaluated(folder, CONTEXT)) is None
