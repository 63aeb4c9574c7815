"""Short trainings, and what befalls them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmkd.settings import Machine
from mmkd.student.settings import StudentSettings
from mmkd.training.loop import Place
from mmkd.training.step import Stepper
from mmkd.training.train import pretrain
from short_runs import SETTINGS
from tiny import MACHINE


@pytest.fixture
def train(tiny_corpus: Path, tiny_student: StudentSettings, tmp_path: Path) -> Callable[..., Path]:
    """A function that trains into a folder of a name, with changed settings."""

    def run(name: str, machine: Machine = MACHINE, **changes: Any) -> Path:
        settings = SETTINGS.model_copy(update=changes)
        pretrain(settings, tiny_student, tiny_corpus, Place(tmp_path / name, machine, 0))
        return tmp_path / name

    return run


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """A function that makes training die at the start of a step."""
    step_of = Stepper.__call__

    def arm(step: int | None) -> None:
        def dying(self: Stepper, batch: Any, now: int) -> Any:
            if now == step:
                raise KeyboardInterrupt
            return step_of(self, batch, now)

        monkeypatch.setattr(Stepper, "__call__", dying)

    return arm


@pytest.fixture
def bad_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that makes the losses of some steps not a number."""
    losses_of = Stepper._losses

    def arm(*steps: int) -> None:
        def poisoned(self: Stepper, own: Any, batch: Any, step: int, *more: Any) -> Any:
            found = losses_of(self, own, batch, step, *more)
            return {name: loss * float("nan") for name, loss in found.items()} if step in steps else found

        monkeypatch.setattr(Stepper, "_losses", poisoned)

    return arm
