"""What several tests of inference share."""

import pytest

from mmkd.inference import blocks
from mmkd.teachers.zoo.settings import TeacherSpec


@pytest.fixture(scope="session")
def model(tiny_teachers: list[TeacherSpec]) -> str:
    """The folder of a tiny model."""
    return tiny_teachers[0].model.removeprefix("local-dir:")


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pictures make several blocks."""
    monkeypatch.setattr(blocks, "BLOCK", 4)
