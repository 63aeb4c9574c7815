"""Training checkpoints: one safetensors file with every tensor, one JSON file that makes it valid.

The JSON is written last and holds the digest of the tensors, so a checkpoint is whole or does not count.
"""

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from mmkd.errors import DataError, TrainingError
from mmkd.progress import say
from mmkd.stage import atomic_file, write_json
from mmkd.training.average import MovingAverage

BEST = "best"
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # gathered from all processes, so their number is free


@dataclass
class Trained:
    """All that a checkpoint restores: student, objective's own parameters, optimiser, average, and what was counted.

    skipped: steps whose loss was not finite, with the ids of their pairs. best: the best validation and its step.
    """

    modules: nn.ModuleDict  # student, objective
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None = None
    skipped: list[dict[str, Any]] = field(default_factory=list)
    best: tuple[float, int] | None = None

    @property
    def student(self) -> nn.Module:
        return self.modules["student"]


def save_checkpoint(folder: Path, step: int, trained: Trained, keep: int, writes: bool = True) -> None:
    """Save the state after `step` steps and drop all but the last `keep` checkpoints; all processes call, one writes.

    Where the disk is full, older checkpoints make room. Raises TrainingError when that is not enough.
    """
    tensors = _tensors(trained)
    if not writes:
        return
    facts = {"step": step, "skipped": trained.skipped, "best": trained.best}
    try:
        _write(folder / f"step-{step:08d}", tensors, facts)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(f"  no space left for the checkpoint of step {step:,}: dropping the older ones")
        _prune(folder, 1)
        _write_or_stop(folder, step, tensors, facts)
    _prune(folder, keep)


def save_best(folder: Path, step: int, weights: Mapping[str, Tensor], score: float) -> None:
    """Keep the student's weights as the best validated ones so far."""
    _write(folder / BEST, weights, {"step": step, "score": score})


def load_best(folder: Path) -> dict[str, Tensor]:
    """The best validated weights. Raises DataError when they are damaged."""
    try:
        weights: dict[str, Tensor] = load(_checked(folder / f"{BEST}.json")[1])
        return weights
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder / BEST}: the best weights are damaged ({error}); run with --force") from error


def restore_newest(folder: Path, trained: Trained) -> int:
    """Load the newest whole checkpoint and return its step; 0 and nothing changed when there is none.

    A damaged one is named and passed over for the one before.
    """
    for path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            facts, data = _checked(path)
        except (OSError, ValueError, KeyError) as error:
            say(f"  checkpoint {path.stem} is damaged ({error}); going back to the one before")
            continue
        _restore(load(data), trained, path)
        trained.skipped = list(facts["skipped"])
        trained.best = tuple(facts["best"]) if facts["best"] else None
        return int(facts["step"])
    return 0


def _write(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    with atomic_file(path.with_name(path.name + ".safetensors")) as stream:
        stream.write(data)
    write_json(path.with_name(path.name + ".json"), {**facts, "sha256": hashlib.sha256(data).hexdigest()})


def _write_or_stop(folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    try:
        _write(folder / f"step-{step:08d}", tensors, facts)
    except OSError as error:
        kept = sorted(path.stem for path in folder.glob("step-*.json"))
        raise TrainingError(
            f"{folder}: no checkpoint of step {step} could be written ({error}); {kept[-1] if kept else 'none'} stays. "
            "Make room and run the same command again: it goes on from there"
        ) from error


def _prune(folder: Path, keep: int) -> None:
    for old in sorted(folder.glob("step-*.json"))[:-keep]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def _checked(path: Path) -> tuple[dict[str, Any], bytes]:
    facts = json.loads(path.read_text())
    data = path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != facts["sha256"]:
        raise ValueError("its digest differs from the recorded one")
    return facts, data


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
    try:
        _, now = get_state_dict(trained.modules, trained.optimizer)
        set_state_dict(
            trained.modules,
            trained.optimizer,
            model_state_dict=model,
            optim_state_dict={"state": state, "param_groups": now["param_groups"]},
            options=WHOLE,
        )
    except (RuntimeError, KeyError) as error:
        raise DataError(f"{where}: the checkpoint is of another model ({error}); run with --force") from error
    if trained.average is not None:
        restore_average(trained.average, part(tensors, "average."))


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
