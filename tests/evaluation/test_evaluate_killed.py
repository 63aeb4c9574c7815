"""kill -9 during an evaluation: when half of a file is on the disk, and of workers; any number leaves the same."""

from pathlib import Path

import pytest

from deaths import assert_same, live_through
from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.publish import OUTPUTS
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.executors.local import LocalExecutor
from mmkd.folders.stage import content_digest
from mmkd.teachers.load import load_teacher
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


@pytest.fixture
def real(settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch) -> EvaluateSettings:
    """Models load as they are: a worker has none of what a test has put in their place."""
    monkeypatch.setattr("mmkd.evaluation.models.encoders.load_teacher", load_teacher)
    return settings.model_copy(update={"nulls": ["random_weights", "chance", "colour_and_size"]})


@pytest.mark.slow
def test_two_workers_that_are_both_killed_leave_the_bytes_of_one(
    real: EvaluateSettings, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    """A run by two workers, none of whom is killed, is made in `tests/pipeline/test_beside.py`.

    Each of the three steps of an evaluation starts workers of its own, who import torch: more than two take long.
    """

    def evaluated(name: str, workers: int) -> tuple[str, int]:
        names, executor = [one.name for one in tiny_teachers], LocalExecutor(workers)
        data_sets = open_data_sets(real)
        found = evaluate(real, data_sets, tiny_teachers, names, tmp_path / name, MACHINE, 0, executor=executor)
        return content_digest(tmp_path / name, OUTPUTS), found["predictions"]

    whole = evaluated("one", 1)
    with killing(tmp_path / ".units", 2) as killed:
        assert evaluated("two", 2) == whole
    assert len(killed) == 2
    assert not list(tmp_path.rglob(".units"))
