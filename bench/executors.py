"""What the hand-out of units costs, with units that sleep: a slow worker, 1 to 8 workers, and random kills.

    python bench/executors.py [--workers 8] [--kills 20]

Writes bench/results/executors.json. Sleeping units say nothing of what eight workers' work costs on shared memory or
disks, only what is lost between units: eight need no eight processors. Times begin when all workers have started and
end with the last unit. One of four workers five times slower: the ideal is all units at the speed of all four together.
58 data sets x 10 models: efficiency is the time of one worker over that of W and W; a worker that comes to another
model loads it, which takes ten times as long as a median unit. Kills: as `executor_kills.py` does, of the local one.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from executor_kills import kills

from mmkd.executors.failures import check
from mmkd.executors.local import LocalExecutor
from mmkd.executors.plan import write_note
from mmkd.executors.resident import resident
from mmkd.executors.unit import Unit, unit_id
from mmkd.folders.atomic import write_json

RESULT = Path(__file__).parent / "results" / "executors.json"
SLOW, SLOW_OF = 5.0, 4  # times slower, one of so many workers
SETS, MODELS = 58, 10
LOAD_UNITS = 10.0  # median units' time


@dataclass(frozen=True)
class Sleep:
    """work_s: of a worker of speed 1. load_s: of what the unit's model takes to load. together: workers to wait for
    before the first unit."""

    folder: Path
    name: str
    work_s: float
    model: str = ""
    load_s: float = 0.0
    together: int = 1
    slow: float = 1.0

    @property
    def done(self) -> Path:
        return self.folder / "done" / f"{self.name}.json"


def sleep(unit: Sleep) -> None:
    """Sleep, and note when; the first worker of a driver is the slow one."""
    worker = multiprocessing.current_process().name
    resident("began", lambda: meet(unit.folder / "workers", worker, unit.together)) if not unit.model else None
    start = time.monotonic()
    loads: list[float] = []
    if unit.model:
        resident(unit.model, lambda: load(unit, loads))
        start = loads[0] if loads else time.monotonic()
    time.sleep(unit.work_s * (unit.slow if worker.endswith("-1") else 1.0))
    write_note(unit.done, {"worker": worker, "start": start, "end": time.monotonic(), "loads": len(loads)})


def meet(folder: Path, worker: str, number: int) -> bool:
    """Wait until so many workers are here."""
    folder.mkdir(exist_ok=True)
    (folder / worker).touch()
    while len(os.listdir(folder)) < number:
        time.sleep(0.005)
    return True


def load(unit: Sleep, loads: list[float]) -> bool:
    """Notes when it began, which is when all workers had started."""
    meet(unit.folder / "workers", multiprocessing.current_process().name, unit.together)
    loads.append(time.monotonic())
    time.sleep(unit.load_s)
    return True


def units_of(work: Sequence[Sleep]) -> list[Unit]:
    work[0].done.parent.mkdir(exist_ok=True)
    return [Unit(unit_id(one.name), one.name, one.done, one, one.model) for one in work]


def timed(work: Sequence[Sleep], workers: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first unit's start to the last one's end, and what the units have noted."""
    check(LocalExecutor(workers).map(units_of(work), sleep, work[0].folder / "notes"))
    found = [json.loads(one.done.read_text()) for one in work]
    return max(one["end"] for one in found) - min(one["start"] for one in found), found


def one_slow(folder: Path, units: int, work_s: float) -> dict[str, float]:
    """over: seconds over those of the ideal, as a share of them."""
    work = [Sleep(folder, f"{n}", work_s, together=SLOW_OF, slow=SLOW) for n in range(units)]
    took, _ = timed(work, SLOW_OF)
    ideal = units * work_s / (SLOW_OF - 1 + 1 / SLOW)
    return {"units": units, "unit_s": work_s, "ideal_s": ideal, "took_s": took, "over": took / ideal - 1}


def evaluations(folder: Path, workers: int, sets: int, models: int, median_s: float) -> dict[str, float]:
    """Data sets x models of unequal sizes: a median unit takes `median_s`, one in six more than twice as long."""
    draw = random.Random(0)
    size = [draw.lognormvariate(0, 0.8) for _ in range(sets)]
    work = [
        Sleep(folder, f"{n}-{m}", median_s * size[n], f"model {m}", LOAD_UNITS * median_s, workers)
        for m in range(models)
        for n in range(sets)
    ]
    took, found = timed(work, workers)
    loads = sum(one["loads"] for one in found)
    in_units = sum(one.work_s for one in work)
    return {"workers": workers, "took_s": took, "loads": loads, "in_units_s": in_units}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as home:
        slow = found["slow"] = one_slow(fresh(home, "slow"), 400, 0.1)
        print(f"one of {SLOW_OF} workers {SLOW:.0f} times slower: {100 * slow['over']:.1f} % over the ideal")
        numbers = [n for n in (1, 2, 4, 8) if n <= given.workers]
        found["evaluations"] = [evaluations(fresh(home, f"by {n}"), n, SETS, MODELS, 0.1) for n in numbers]
        alone = found["evaluations"][0]["took_s"]
        for one in found["evaluations"]:
            one["efficiency"] = alone / (one["took_s"] * one["workers"])
            print(f"{SETS} x {MODELS} by {one['workers']}: {one['took_s']:.1f} s, efficiency {one['efficiency']:.3f}, "
                  f"{one['loads']:.0f} loads of a model")  # fmt: skip
        local = {"kind": "local", "workers": 4}
        killed = found["kills"] = kills(fresh(home, "kills"), local, 600, 0.3, given.kills)
        print(f"{killed['workers_killed']} workers and {killed['drivers_killed']} drivers killed: {killed['lost']} of "
              f"{killed['units']} units lost, {killed['again']} done again")  # fmt: skip
    write_json(RESULT, found)


def fresh(home: str, name: str) -> Path:
    folder = Path(home) / name
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
