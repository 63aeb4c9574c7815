"""Training checkpoints: one safetensors file with every tensor, one JSON file that makes it valid.

The JSON is written last and holds the digest of the tensors, so a checkpoint is whole or does not count.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from mmkd.errors import DataError
from mmkd.progress import say
from mmkd.stage import atomic_file, write_json

KEEP = 2


@dataclass
class Trained:
    """All that a checkpoint restores: the student, the objective's own parameters, the optimiser."""

    student: nn.Module
    objective: nn.Module
    optimizer: torch.optim.Optimizer


def save_checkpoint(folder: Path, step: int, trained: Trained) -> None:
    """Save the state after `step` steps and drop all but the last two checkpoints."""
    data = save({name: value.detach().cpu().contiguous() for name, value in _tensors(trained).items()})
    with atomic_file(folder / f"step-{step:08d}.safetensors") as stream:
        stream.write(data)
    facts = {"step": step, "sha256": hashlib.sha256(data).hexdigest()}
    write_json(folder / f"step-{step:08d}.json", facts)
    for old in sorted(folder.glob("step-*.json"))[:-KEEP]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def restore_newest(folder: Path, trained: Trained) -> int:
    """Load the newest whole checkpoint and return its step; 0 and nothing changed when there is none.

    A damaged one is named and passed over for the one before.
    """
    for facts_path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            facts = json.loads(facts_path.read_text())
            data = facts_path.with_suffix(".safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["sha256"]:
                raise ValueError("its digest differs from the recorded one")
        except (OSError, ValueError, KeyError) as error:
            say(f"  checkpoint {facts_path.stem} is damaged ({error}); going back to the one before")
            continue
        _restore(load(data), trained, facts_path)
        return int(facts["step"])
    return 0


def _tensors(trained: Trained) -> dict[str, Tensor]:
    found = {f"student.{name}": value for name, value in trained.student.state_dict().items()}
    found |= {f"objective.{name}": value for name, value in trained.objective.state_dict().items()}
    for number, state in trained.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return found


def _restore(tensors: Mapping[str, Tensor], trained: Trained, where: Path) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    try:
        trained.student.load_state_dict(part("student."))
        trained.objective.load_state_dict(part("objective."))
    except RuntimeError as error:
        raise DataError(f"{where}: the checkpoint is of another model ({error}); run with --force") from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer.").items():
        number, field = name.split(".", 1)
        state.setdefault(int(number), {})[field] = value
    trained.optimizer.load_state_dict({**trained.optimizer.state_dict(), "state": state})
