"""Units for tests of engines, in a module that workers on other machines import by its name.

As a script: `engine_acts.py SETTINGS.json FOLDER ACT ...` is a driver of its own, which may be killed.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmkd.executors.executor import Executor
from mmkd.executors.failures import check
from mmkd.executors.unit import Unit, unit_id
from mmkd.folders.atomic import atomic_file

HERE = Path(__file__).parent
PYTHONPATH = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
"""With which workers find this module and the package, whichever way that is installed."""


def act(payload: tuple[str, str]) -> None:
    """Do what the word says (`sleep 0.1`, `die`, `die once`, `defect`, `await FILE`), and leave a file that depends on
    nothing else than its name. Each attempt adds a line, with its process, to a file beside it."""
    path, what = payload
    done = Path(path)
    with done.with_suffix(".attempts").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    print(f"this is {done.stem}", flush=True)
    word, _, much = what.partition(" ")
    if word == "sleep":
        time.sleep(float(much))
    while word == "await" and not (done.parent / much).exists():
        time.sleep(0.05)
    if what == "defect":
        raise RuntimeError("no reason")
    if what == "die" or (what == "die once" and attempts(done) == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    with atomic_file(done) as stream:
        stream.write(hashlib.sha256(done.stem.encode()).hexdigest().encode())


def attempts(done: Path) -> int:
    return len(done.with_suffix(".attempts").read_text().split())


def units_in(folder: Path, acts: Sequence[str]) -> list[Unit]:
    dones = [folder / f"{number}.done" for number in range(len(acts))]
    return [
        Unit(unit_id(done.stem, what), done.stem, done, (str(done), what))
        for done, what in zip(dones, acts, strict=True)
    ]


def done_by(executor: Executor, folder: Path, acts: Sequence[str]) -> str:
    """Have them done; one digest of all files. Raises what `failures.check` does."""
    folder.mkdir(exist_ok=True)
    check(executor.map(units_in(folder, acts), act, folder / ".units" / "acts"))
    return digest_of(folder)


def digest_of(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.done")):
        whole.update(path.name.encode() + path.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    import engine_acts  # not __main__: workers import the function by the module's name
    from pydantic import TypeAdapter

    from mmkd.executors.table import AnyExecutor

    settings = TypeAdapter(AnyExecutor).validate_python(json.loads(sys.argv[1]))
    print(engine_acts.done_by(settings.open(), Path(sys.argv[2]), sys.argv[3:]), flush=True)
