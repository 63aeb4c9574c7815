"""Which result rows the model card takes."""

from dataclasses import replace

import pytest

from mmkd.evaluation.format.results import BEST_TEACHER, CLEAN, IN_GENERAL, STUDENT, Result
from mmkd.evaluation.tasks.table import TASKS
from mmkd.pipeline.stages import _on_the_card


@pytest.mark.parametrize("task", TASKS)
def test_one_number_for_each_task_of_the_student_and_the_best_teacher(task: str) -> None:
    row = Result(STUDENT, "d", "ct", task, TASKS[task].primary, 0.5, 0.4, 0.6, 9, 0, "p")
    assert _on_the_card(row)
    assert _on_the_card(replace(row, model=BEST_TEACHER))
    assert not _on_the_card(replace(row, model="stage1"))
    assert not _on_the_card(replace(row, metric=f"{row.metric}_of_another_kind"))
    for subset in (CLEAN, IN_GENERAL, "sex=f"):
        assert not _on_the_card(replace(row, subset=subset))
