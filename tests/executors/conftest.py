"""What stages leave that one process has done: the oracle of every executor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ablation_files import write_files
from colour_world import write_squares
from stage_work import STAGES, Check, Inputs

from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.teachers.zoo.settings import TeacherSpec


@pytest.fixture(scope="session")
def stage_inputs(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path_factory: pytest.TempPathFactory
) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    cards = [write_squares(folder / name, name, 4, seed) for seed, name in enumerate(("ct", "mri"))]
    return Inputs(tiny_corpus, tiny_teachers, cards, write_files(folder))


@pytest.fixture(scope="session")
def by_one_process(stage_inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What the stage of that name leaves; done once."""
    made: dict[str, Any] = {}

    def find(stage: str) -> Any:
        if stage not in made:
            made[stage] = STAGES[stage](LocalExecutor(1), stage_inputs, tmp_path_factory.mktemp(stage))
        return made[stage]

    return find


@pytest.fixture
def makes_the_same(stage_inputs: Inputs, by_one_process: Callable[[str], Any], tmp_path: Path) -> Check:
    """Asserts that the executor's workers leave what one process does, and no notes."""

    def check(stage: str, executor: Executor) -> None:
        assert STAGES[stage](executor, stage_inputs, tmp_path) == by_one_process(stage)
        assert not list(tmp_path.rglob(".units"))

    return check
