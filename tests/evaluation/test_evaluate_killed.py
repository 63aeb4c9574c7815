"""kill -9 during an evaluation, when half of a file is on the disk."""

from pathlib import Path

import pytest

from deaths import assert_same, live_through
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.teachers.zoo.settings import TeacherSpec

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
