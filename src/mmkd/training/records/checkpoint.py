"""Training checkpoints: every tensor that training goes on with, and what it has counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from mmkd.errors import DataError
from mmkd.progress import say
from mmkd.training.experimental.average import MovingAverage
from mmkd.training.records.checkpoint_files import (
    DAMAGED,
    best_path,
    prune,
    read_whole,
    step_path,
    with_room,
    write_whole,
)

WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # gathered from all processes, so their number is free


@dataclass
class Trained:
    """All that a checkpoint restores: student, objective's own parameters, optimiser, average, and what was counted.

    skipped: steps whose loss was not finite, with the ids of their pairs. best: the best validation and its step, where
    its weights are kept.
    """

    modules: nn.ModuleDict  # student, objective
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None = None
    skipped: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int] | None = None

    @property
    def best_step(self) -> int | None:
        return self.best[1] if self.best else None

    @property
    def student(self) -> nn.Module:
        return self.modules["student"]


def save_checkpoint(folder: Path, step: int, trained: Trained, keep: int, writes: bool = True) -> None:
    """Save the state after `step` steps and drop all but the last `keep` checkpoints; all processes call, one writes.

    Raises TrainingError on a full disk, as `with_room` does.
    """
    tensors = _tensors(trained)
    if not writes:
        return
    facts = {"step": step, "skipped": trained.skipped, "best": trained.best}
    write = partial(write_whole, step_path(folder, step), tensors, facts)
    with_room(folder, f"the checkpoint of step {step:,}", trained.best_step, write)
    prune(folder, keep, trained.best_step)


def save_best(folder: Path, step: int, weights: Mapping[str, Tensor], score: float) -> None:
    """Keep the student's weights as the best validated ones so far. Raises TrainingError on a full disk."""
    write = partial(write_whole, best_path(folder, step), weights, {"step": step, "score": score})
    with_room(folder, f"the best weights, of step {step:,},", step, write)
    prune(folder, len(list(folder.glob("step-*.json"))) or 1, step)


def load_best(folder: Path, step: int) -> dict[str, Tensor]:
    """The best validated weights. Raises DataError when they are damaged."""
    path = best_path(folder, step)
    try:
        return read_whole(path)[1]
    except DAMAGED as error:
        raise DataError(
            f"{path}: the best weights are damaged ({error}); run the same command again: it goes on from the last "
            "checkpoint and takes the best of the validations after it"
        ) from error


def restore_newest(folder: Path, trained: Trained, report: Callable[[str], None] = say) -> int:
    """Load the newest whole checkpoint and return its step; 0 and nothing changed when there is none.

    A damaged one is named and passed over for the one before. Where the best weights are damaged, the best is sought
    among the validations to come.
    """
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            facts, tensors = read_whole(path)
        except DAMAGED as error:
            report(f"  checkpoint {path.stem} is damaged ({error}); going back to the one before")
            continue
        _restore(tensors, trained, path)
        trained.skipped = list(facts["skipped"])
        trained.best = _whole_best(folder, facts["best"], report)
        return int(facts["step"])
    return 0


def _whole_best(
    folder: Path, best: tuple[float, int] | None, report: Callable[[str], None]
) -> tuple[float, int] | None:
    if not best:
        return None
    score, step = best
    try:
        read_whole(best_path(folder, step))
    except DAMAGED as error:
        report(f"  the best weights, of step {step:,}, are damaged ({error}); the best is sought from here on")
        return None
    return score, step


def _tensors(trained: Trained) -> dict[str, Tensor]:
    state: tuple[Any, Any] = get_state_dict(trained.modules, trained.optimizer, options=WHOLE)
    model, optimizer = state
    found: dict[str, Tensor] = dict(model)  # of several processes, rank 0 alone gets the tensors
    for name, moments in optimizer.get("state", {}).items():
        found |= {f"optimizer.{name}.{key}": torch.as_tensor(value) for key, value in moments.items()}
    if trained.average is not None:
        found |= {f"average.{name}": whole(value) for name, value in trained.average.parameters.items()}
    return found


def whole(value: Tensor) -> Tensor:
    """The tensor of which every process may hold a shard."""
    gathered: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return gathered


def _restore(tensors: Mapping[str, Tensor], trained: Trained, where: Path) -> None:
    model: dict[str, Any] = {
        name: value for name, value in tensors.items() if name.startswith(("student.", "objective."))
    }
    state: dict[str, Any] = {}
    for name, value in part(tensors, "optimizer.").items():
        parameter, key = name.rsplit(".", 1)
        state.setdefault(parameter, {})[key] = value
    _refuse_another(model, trained, where)
    _, now = get_state_dict(trained.modules, trained.optimizer)
    set_state_dict(
        trained.modules,
        trained.optimizer,
        model_state_dict=model,
        optim_state_dict={"state": state, "param_groups": now["param_groups"]},
        options=WHOLE,
    )
    if trained.average is not None:
        restore_average(trained.average, part(tensors, "average."))


def _refuse_another(model: Mapping[str, Tensor], trained: Trained, where: Path) -> None:
    stored = {name: tuple(value.shape) for name, value in model.items()}
    wanted = {name: tuple(value.shape) for name, value in trained.modules.state_dict().items()}
    differing = sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
    if differing:
        first = differing[0]
        raise DataError(
            f"{where}: the checkpoint is of another model: {first} has the shape {stored.get(first)}, expected "
            f"{wanted.get(first)} ({len(differing)} differ); run with --force"
        )


def restore_average(average: MovingAverage, tensors: Mapping[str, Tensor]) -> None:
    """Give the average its stored values, each process its shard of them."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    for name, value in average.parameters.items():
        stored = tensors[name].to(value.device)
        if isinstance(value, DTensor):
            value.copy_(distribute_tensor(stored, value.device_mesh, value.placements))
        else:
            value.copy_(stored)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
