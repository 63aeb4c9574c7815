"""What a machine gives without being told; what no number of a setting may be."""

import math
import os
from typing import Any

import pytest
from pydantic import ValidationError

from mmkd.ablate.settings import Ablation
from mmkd.cards.card import Card
from mmkd.pipeline.recipe import Recipe
from mmkd.settings import MOST_LOADERS, Machine, Settings, _kinds
from mmkd.teachers.zoo.entry import ZooEntry


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


def sections(*roots: type[Settings]) -> list[type[Settings]]:
    """These tables and all that lie in them."""
    found: dict[type[Settings], None] = {}
    waiting = list(roots)
    while waiting:
        section = waiting.pop()
        if section not in found:
            found[section] = None
            kinds = (kind for field in section.model_fields.values() for kind in _kinds(field.annotation))
            waiting += sorted(
                (kind for kind in kinds if issubclass(kind, Settings)), key=lambda kind: kind.__qualname__
            )
    return list(found)


NUMBERS = [
    pytest.param(section, name, id=f"{section.__name__}.{name}")
    for section in sections(Recipe, Card, Ablation, ZooEntry)
    for name, field in section.model_fields.items()
    if {int, float} & _kinds(field.annotation) and bool not in _kinds(field.annotation)
]


def test_the_tables_have_numbers() -> None:
    assert len(NUMBERS) > 80


@pytest.mark.parametrize(("section", "name"), NUMBERS)
def test_no_number_of_any_setting_is_true_or_infinite(section: type[Settings], name: str) -> None:
    key = section.model_fields[name].alias or name
    for value in (True, False, math.inf, -math.inf, math.nan, "inf", "nan"):
        shapes: list[Any] = [value, [value], [value, value], [value] * 3, {"a": value}]
        for shape in shapes:
            with pytest.raises(ValidationError) as caught:
                section.model_validate({key: shape})
            assert key in {error["loc"][0] for error in caught.value.errors() if error["loc"]}, shape


@pytest.mark.parametrize("name", ["gpu9", "cuda:", "cuda:x", "mps", "CPU", "", "cpu\n"])
def test_a_device_that_cannot_be_is_refused_when_the_recipe_is_read(name: str) -> None:
    with pytest.raises(ValidationError, match="expected auto, cpu, cuda or cuda:N"):
        Machine(device=name)
