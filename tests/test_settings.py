"""What a machine gives without being told."""

import os

import pytest
from pydantic import ValidationError

from mmkd.settings import MOST_LOADERS, Machine


def with_processors(monkeypatch: pytest.MonkeyPatch, count: int, ranks: str | None) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if ranks is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)


@pytest.mark.parametrize(
    ("processors", "ranks", "processes"), [(64, None, 64), (64, "8", 8), (2, None, 2), (2, "4", 1), (7, "2", 3)]
)
def test_the_processors_are_shared_among_the_processes_of_a_machine(
    processors: int, ranks: str | None, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_processors(monkeypatch, processors, ranks)
    assert Machine().processes == processes
    assert Machine().loaders == min(processes, MOST_LOADERS)


@pytest.mark.parametrize("workers", [0, 1, 40])
def test_what_a_recipe_says_is_done(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_processors(monkeypatch, 4, "2")
    machine = Machine(workers=workers)
    assert (machine.processes, machine.loaders) == (workers, workers)


def test_fewer_than_none_are_refused() -> None:
    with pytest.raises(ValidationError, match="workers"):
        Machine(workers=-1)
