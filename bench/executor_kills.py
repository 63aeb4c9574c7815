"""Random kills (kill -9) of workers and drivers, of any executor, with units that sleep: what is lost or done again.

    python bench/executor_kills.py [--engines local,ray,slurm] [--kills 20] [--units 200] [--seconds 1] [--workers 4]

Writes bench/results/executor_kills.json. Every few seconds a random worker that is at work on a unit is killed or, one
time in four, the driver, which is then started again, as a user does. ray: a cluster of three nodes of two processors
each is started on this machine. slurm: that of this machine; `python tests/executors/one_node_slurm.py COMMAND` runs a
command with a Slurm of one node. lost: units that are not done at the end. again: units that somebody was at work on
when they were done already. cut_off: units that were begun more than once, as their worker was killed.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter

from mmkd.errors import DataError
from mmkd.executors.failures import check
from mmkd.executors.plan import read_note, write_note
from mmkd.executors.table import AnyExecutor
from mmkd.executors.unit import Unit, unit_id
from mmkd.folders.atomic import write_json

RESULT = Path(__file__).parent / "results" / "executor_kills.json"
HERE = Path(__file__).parent
ENGINES: dict[str, dict[str, Any]] = {
    "local": {},
    "ray": {"cpus": 1},
    "slurm": {"poll_s": 0.3, "timeout_min": 30, "cpus": 1},
}
"""Settings beside `kind` and `workers`."""
SHOWN = ("workers_killed", "drivers_killed", "units", "lost", "again", "cut_off")
DRIVER_EVERY = 4
EVERY = 2, 6  # units' times between two kills
NODES, CPUS, STORE = 3, 2, 80 * 2**20  # of Ray's cluster; bytes of a node's store, of which Ray wants 75 MiB


def nap(given: tuple[str, float]) -> None:
    """Note that it was begun, sleep, and leave the file that says it is done; note where it was done already."""
    path, seconds = given
    done = Path(path)
    with done.with_suffix(".begun").open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    was_done = done.exists()
    time.sleep(seconds)
    if was_done or done.exists():
        done.with_suffix(".again").touch()
    write_note(done, {"process": os.getpid()})


def units_in(folder: Path, number: int, seconds: float) -> list[Unit]:
    dones = [folder / f"{one}.done" for one in range(number)]
    return [Unit(unit_id(done.stem, seconds), done.stem, done, (str(done), seconds)) for done in dones]


def kills(folder: Path, settings: dict[str, Any], units: int, seconds: float, number: int) -> dict[str, Any]:
    """Kill while drivers with these settings have the units done. Raises DataError where a driver fails by itself."""
    draw = random.Random(0)
    command = [sys.executable, __file__, "--drive", json.dumps(settings), str(folder), str(units), str(seconds)]
    killed: dict[str, list[int]] = {"worker": [], "driver": []}
    start, driver = time.monotonic(), subprocess.Popen(command)
    while driver.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            driver.wait(draw.uniform(*EVERY) * seconds)
        count = len(killed["worker"]) + len(killed["driver"])
        victims = list(at_work(folder / "notes", killed["worker"]))
        if count == number or not victims or driver.poll() is not None:
            continue
        if count % DRIVER_EVERY == DRIVER_EVERY - 1:
            driver.kill()
            driver.wait()
            killed["driver"].append(driver.pid)
            driver = subprocess.Popen(command)
        else:
            killed["worker"].append(draw.choice(victims))
            os.kill(killed["worker"][-1], signal.SIGKILL)
    if driver.returncode:
        raise DataError(f"the last driver ended with {driver.returncode}")
    counts = {f"{what}s_killed": len(processes) for what, processes in killed.items()}
    return {"units": units, "seconds": seconds, "wall_s": time.monotonic() - start, **counts, **found_in(folder, units)}


def found_in(folder: Path, units: int) -> dict[str, int]:
    begun = [path.read_text().split() for path in folder.glob("*.begun")]
    return {
        "lost": units - len(list(folder.glob("*.done"))),
        "again": len(list(folder.glob("*.again"))),
        "cut_off": sum(len(processes) > 1 for processes in begun),
    }


def at_work(notes: Path, killed: Collection[int]) -> Iterator[int]:
    """Processes of workers that are at work on a unit."""
    for path in notes.glob("*.worker"):
        note = read_note(path)
        process = int(note.get("process", 0))
        if note.get("unit") and process not in killed and Path(f"/proc/{process}").exists():
            yield process


def drive(settings: dict[str, Any], folder: Path, units: int, seconds: float) -> None:
    """As a driver, in a process of its own."""
    executor = TypeAdapter(AnyExecutor).validate_python(settings).open()
    import executor_kills  # not __main__: workers import the function by the module's name

    check(executor.map(units_in(folder, units, seconds), executor_kills.nap, folder / "notes"))


@contextmanager
def started(engine: str) -> Iterator[dict[str, str]]:
    """Settings of what was started for the engine: the address of Ray's cluster."""
    if engine != "ray":
        yield {}
        return
    from ray.cluster_utils import Cluster

    node = {"num_cpus": CPUS, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**node)
        yield {"address": cluster.address}
    finally:
        cluster.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--drive", nargs=4, metavar=("SETTINGS", "FOLDER", "UNITS", "SECONDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        settings, folder, units, seconds = given.drive
        drive(json.loads(settings), Path(folder), int(units), float(seconds))
        return
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), str(HERE.parent / "src")])  # of workers
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    result = {}
    for engine in given.engines.split(","):
        with started(engine) as more, TemporaryDirectory() as home:
            settings = {"kind": engine, "workers": given.workers, **ENGINES[engine], **more}
            one = result[engine] = kills(Path(home), settings, given.units, given.seconds, given.kills)
        print(f"{engine}: {', '.join(f'{name} {one[name]}' for name in SHOWN)}, {one['wall_s']:.0f} s", flush=True)
    write_json(RESULT, result)


if __name__ == "__main__":
    main()
