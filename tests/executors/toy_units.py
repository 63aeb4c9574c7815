"""Units that do what a word says, for every executor; each attempt is noted beside the unit's file."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.executors.unit import Unit, unit_id


def act(payload: tuple[Path, str]) -> None:
    """Leave the file, or do what the word says; every attempt is noted beside it."""
    done, what = payload
    with done.with_suffix(".attempts").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if what == "defect":
        raise RuntimeError("no reason")
    if what == "mend":
        raise ConfigError("write it as it should be")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "die once" and attempts(done) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "nothing":
        return
    if what == "wait":
        time.sleep(0.02)
    if what == "gpu":  # when all units are at work, that is, each in a worker of its own
        deadline = time.monotonic() + 60
        while len(list(done.parent.glob("*.attempts"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        what = os.environ["CUDA_VISIBLE_DEVICES"]
    done.write_text(what)


def attempts(done: Path) -> int:
    return len(done.with_suffix(".attempts").read_text().split())


def units_in(folder: Path, acts: Sequence[str]) -> list[Unit]:
    dones = [folder / f"{number}.done" for number in range(len(acts))]
    return [Unit(unit_id(str(done)), done.stem, done, (done, what)) for done, what in zip(dones, acts, strict=True)]
