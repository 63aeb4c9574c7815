"""kill -9 during an evaluation: when half of a file is on the disk, and of workers; any number leaves the same."""

from pathlib import Path

import pytest

from deaths import assert_same, live_through
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.publish import OUTPUTS
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.executors.local import LocalExecutor
from mmkd.folders.stage import content_digest
from mmkd.teachers.zoo.settings import TeacherSpec
from tiny import MACHINE
from worker_deaths import killing

DEATHS = [
    ("draft", "blind-blue.safetensors"),  # vectors of the second model
    ("draft", "student.safetensors"),
    ("draft", "stage1.parquet"),  # predictions
    ("draft", "cards.jsonl"),
    ("draft", "results.jsonl"),
    ("draft", "manifest.json"),
]


@pytest.mark.slow
def test_an_evaluation_that_is_killed_ends_the_same(
    settings: EvaluateSettings, models: list[TeacherSpec], tmp_path: Path
) -> None:
    job = {
        "stage": "evaluate",
        "settings": settings.model_dump(mode="json"),
        "models": [model.model_dump(mode="json") for model in models],
    }
    whole, cut = live_through(job, DEATHS, tmp_path)
    assert_same(whole, cut)
    assert (whole / "results.jsonl").read_bytes() == (cut / "results.jsonl").read_bytes()


@pytest.mark.slow
def test_one_two_and_eight_workers_leave_the_same_bytes(
    settings: EvaluateSettings, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    """Real models: a worker has none of what a test has put in their place."""
    names = [one.name for one in tiny_teachers]
    nulled = settings.model_copy(update={"nulls": ["random_weights", "chance", "colour_and_size"]})
    for workers in (1, 2, 8):
        executor = LocalExecutor(workers)
        found = evaluate(
            nulled, open_data_sets(nulled), tiny_teachers, names, tmp_path / f"{workers}", MACHINE, 0, executor=executor
        )
        assert found["predictions"] == 3 * (len(names) + 3 + 1) - 1  # colours know no texts to be retrieved by
    whole = content_digest(tmp_path / "1", OUTPUTS)
    assert {content_digest(tmp_path / workers, OUTPUTS) for workers in ("2", "8")} == {whole}
    assert not list(tmp_path.rglob(".units"))


@pytest.mark.slow
def test_workers_that_are_killed_cost_nothing_in_the_results(
    settings: EvaluateSettings, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    names = [one.name for one in tiny_teachers]
    evaluate(settings, open_data_sets(settings), tiny_teachers, names, tmp_path / "whole", MACHINE, 0)
    data_sets = open_data_sets(settings)
    with killing(tmp_path / ".units", 3) as killed:
        evaluate(settings, data_sets, tiny_teachers, names, tmp_path / "cut", MACHINE, 0, executor=LocalExecutor(2))
    assert killed
    assert content_digest(tmp_path / "cut", OUTPUTS) == content_digest(tmp_path / "whole", OUTPUTS)
    assert not list(tmp_path.rglob(".units"))
