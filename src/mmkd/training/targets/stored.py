"""Arrays that cost much to work out, made once by the first process and mapped into memory by all, at a resume too."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from mmkd.distributed import World
from mmkd.folders.atomic import atomic_file, write_json

RANKS = "ranks"  # a folder beside the checkpoints


def stored(
    folder: Path, name: str, made_from: Mapping[str, Any], make: Callable[[], np.ndarray], world: World
) -> np.ndarray:
    """What `make` returns, from `folder` where it is there already and was made from the same.

    made_from: what JSON can hold. All processes of the world call it; only rank 0 calls `make`.
    """
    values, facts = folder / RANKS / f"{name}.npy", folder / RANKS / f"{name}.json"
    wanted = json.loads(json.dumps(made_from))
    if world.first and _facts(facts) != wanted:
        facts.unlink(missing_ok=True)
        with atomic_file(values) as stream:
            np.save(stream, make(), allow_pickle=False)
        write_json(facts, wanted)  # last: with it the array is whole
    world.wait()
    found: np.ndarray = np.load(values, mmap_mode="r", allow_pickle=False)
    return found


def stored_done(folder: Path) -> None:
    """Take the arrays away that `stored` left in the folder."""
    rmtree(folder / RANKS, ignore_errors=True)


def _facts(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
