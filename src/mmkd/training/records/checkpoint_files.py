"""The files of a training's checkpoints: tensors, and beside them a JSON file that makes them valid.

The JSON is written last and holds the digest of the tensors, so a checkpoint is whole or does not count. Steps and best
weights have numbered names, `step-00000500` and `best-00000400`: nothing that a checkpoint leads to is overwritten.
"""

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load, save
from torch import Tensor

from mmkd.errors import TrainingError
from mmkd.folders.atomic import atomic_file, write_json
from mmkd.folders.digests import bytes_digest
from mmkd.progress import say

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT)
DAMAGED = (OSError, ValueError, KeyError)  # what reading a file raises that is missing, cut off or changed


def step_path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.json"


def best_path(folder: Path, step: int) -> Path:
    """The JSON file of the weights that did best, which are those after `step` steps."""
    return folder / f"best-{step:08d}.json"


def write_whole(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write the tensors, then the facts with their digest into the JSON file `path`."""
    data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
    with atomic_file(path.with_suffix(".safetensors")) as stream:
        stream.write(data)
    write_json(path, {**facts, "sha256": bytes_digest(data)})


def read_whole(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts, and the tensors in the order of their names. Raises one of DAMAGED when they are not what was written.

    safetensors gives them in another order in each process, but processes that share them out have to go by one.
    """
    facts: dict[str, Any] = json.loads(path.read_text())
    data = path.with_suffix(".safetensors").read_bytes()
    if bytes_digest(data) != facts["sha256"]:
        raise ValueError("its digest differs from the recorded one")
    return facts, dict(sorted(load(data).items()))


def prune(folder: Path, keep: int, best: int | None) -> None:
    """Drop all but the last `keep` checkpoints, and best weights but those that these have and those of step `best`."""
    steps = sorted(folder.glob("step-*.json"))
    held = {best} | {_best_of(path) for path in steps[-keep:]}
    bests = [path for path in folder.glob("best-*.json") if int(path.stem.removeprefix("best-")) not in held]
    for path in (*steps[:-keep], *bests):
        path.unlink()
    for tensors in folder.glob("*.safetensors"):  # also what a kill left between the two files
        if not tensors.with_suffix(".json").exists():
            tensors.unlink()


def with_room(folder: Path, what: str, best: int | None, write: Callable[[], T]) -> T:
    """What `write` returns; on a full disk it is called again once only the newest checkpoint is left in the folder.

    Raises TrainingError when that is not enough.
    """
    try:
        return write()
    except OSError as error:
        if error.errno not in FULL:
            raise
    say(f"  no space left for {what}: dropping the older checkpoints")
    prune(folder, 1, best)
    try:
        return write()
    except OSError as error:
        kept = sorted(path.stem for path in folder.glob("step-*.json"))
        raise TrainingError(
            f"{folder.parent}: {what} could not be written ({error}); {kept[-1] if kept else 'no checkpoint'} stays. "
            "Make room and run the same command again: it goes on from there"
        ) from error


def _best_of(path: Path) -> int | None:
    """The step of the best weights that a checkpoint leads to; None also where it is damaged and leads nowhere."""
    try:
        best = json.loads(path.read_text())["best"]
        return int(best[1]) if best else None
    except DAMAGED:
        return None
