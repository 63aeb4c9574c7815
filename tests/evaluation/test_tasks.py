"""What is asked of every task: it owns its facts, and its predictions are made from all of its settings."""

from pathlib import Path
from typing import Any

import pytest
import toy_task
from colour_world import MACHINE, TEACHERS
from worlds import card

from mmkd.evaluation.data_sets.checks import check_cards
from mmkd.evaluation.data_sets.choose import load_card
from mmkd.evaluation.data_sets.opened import DataSet
from mmkd.evaluation.format.results import read_results
from mmkd.evaluation.gallery.examples import read_gallery
from mmkd.evaluation.publish import EVALUATE, Evaluation, publish_evaluation
from mmkd.evaluation.tasks.settings import EvaluateSettings, with_sections
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.units import EvaluationUnit
from mmkd.report.details import DETAILS
from mmkd.report.pages import PAGE, ReportContext, write_report
from mmkd.teachers.zoo.settings import TeacherSpec

SETTINGS = EvaluateSettings(cards=[Path("a.toml")])
FIELDS = [(task.section, field) for task in TASKS.values() if task.section for field in task.settings.model_fields]
COMMON = set(EvaluateSettings.model_fields) - {task.section for task in TASKS.values()}


def changed(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, list):
        return value[1:]
    return 7 if value is None else value * 2


def digests(settings: EvaluateSettings, seed: int = 0) -> dict[str, str]:
    """Task -> what predictions of it are made from."""
    return {
        name: EvaluationUnit(
            name, DataSet(card(name), [], [], [], "data"), "model", [], settings.of_task(task), seed
        ).facts.made_from
        for name, task in TASKS.items()
    }


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_a_changed_setting_of_a_task_makes_its_predictions_anew_and_no_others(section: str, field: str) -> None:
    own = getattr(SETTINGS, section)
    other = own.model_copy(update={field: changed(getattr(own, field))})
    assert type(own).model_validate(other.model_dump()) != own
    before, after = digests(SETTINGS), digests(SETTINGS.model_copy(update={section: other}))
    assert {name for name in TASKS if before[name] != after[name]} == {
        name for name, task in TASKS.items() if task.section == section
    }


def test_other_settings_of_evaluate_change_no_prediction_and_the_seed_changes_all() -> None:
    others = SETTINGS.model_copy(update={"bootstrap": 7, "gallery": 0, "audit": False, "bags": True, "nulls": []})
    assert digests(others) == digests(SETTINGS)
    assert all(digests(SETTINGS)[name] != digest for name, digest in digests(SETTINGS, seed=1).items())


def test_no_two_tasks_share_a_section_and_none_hides_a_common_key() -> None:
    sections = [task.section for task in TASKS.values() if task.section]
    assert len(set(sections)) == len(sections)
    assert COMMON.isdisjoint(sections)


@pytest.mark.parametrize("name", TASKS)
def test_the_facts_of_a_task_fit_together(name: str) -> None:
    task = TASKS[name]
    assert set(task.details) <= set(DETAILS)
    assert not task.printed or task.primary in task.printed
    assert {files.setting for files in task.files} <= COMMON
    assert task.section or not task.settings.model_fields


def test_every_detail_of_the_report_belongs_to_a_task() -> None:
    assert set(DETAILS) == {detail for task in TASKS.values() for detail in task.details}


def test_a_seventh_task_is_a_file_and_a_line_in_the_table(
    settings: EvaluateSettings,
    models: list[TeacherSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(TASKS, "toy", toy_task.TASK)
    path = tmp_path / "ct" / "card.toml"
    path.write_text(path.read_text().replace('["zero_shot"]', '["toy"]'))
    asked = with_sections(TASKS).model_validate(
        {**settings.model_dump(include=COMMON), "cards": [path], "audit": False, "nearest": {"first": 3}}
    )
    assert asked.of_task(toy_task.TASK) == toy_task.NearestSettings(first=3)
    licences = dict.fromkeys(TEACHERS, "CC0")
    publish_evaluation(Evaluation("toy", asked, models, licences, MACHINE, seed=0), tmp_path / "out")
    folder = tmp_path / "out" / EVALUATE
    assert {row.task for row in read_results(folder)} == {"toy"}
    assert (folder / "nearest/squares_ct.txt").read_text() == "student"
    assert all(one.task == "toy" and one.kind == "error" for one in read_gallery(folder))
    printed = capsys.readouterr().out
    assert "Nearest examples: macro AUC %" in printed
    assert "mean over the data sets (2 more in results.jsonl)" in printed
    write_report(folder, tmp_path / "report", ReportContext("toy", licences=licences))
    page = (tmp_path / "report" / PAGE).read_text()
    assert "Nearest examples" in page
    assert "toy-confusion" in page
    complaints = check_cards({"squares_ct": path}, TEACHERS)
    assert "says nowhere that it is a toy" in complaints["squares_ct"]
    assert load_card(path).tasks == ["toy"]
