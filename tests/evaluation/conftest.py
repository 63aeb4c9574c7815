"""The tiny world of `colour_world` as fixtures."""

from pathlib import Path

import pytest
from colour_world import ColourModel, write_pairs, write_squares

from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.teachers.zoo.settings import TeacherSpec


@pytest.fixture
def models() -> list[TeacherSpec]:
    named = {
        "blind-red": "colours:0.2:red",
        "blind-blue": "colours:0.25:blue",
        "stage1": "colours:0.6",
        "mmkd": "colours:0.5",
        "student": "colours:0.05",
    }
    return [TeacherSpec(name=name, model=model) for name, model in named.items()]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluateSettings:
    """Two data sets of squares and one of pairs; models load as `ColourModel`."""
    monkeypatch.setattr("mmkd.evaluation.models.encoders.load_teacher", ColourModel)
    monkeypatch.setattr(ColourModel, "loaded", [])
    squares = [write_squares(tmp_path / name, name, 12, seed) for seed, name in enumerate(("ct", "mri"))]
    cards = [*squares, write_pairs(tmp_path / "pairs", squares[0])]
    return EvaluateSettings(cards=cards, bootstrap=200, batch_size=7, nulls=[])
