"""What the executor ray costs on one node beside the local executor: wall time of the same units, in turn.

    python bench/executor_engines.py [--workers 2] [--repeats 3] [--sizes extraction,evaluation]

Writes bench/results/executor_engines.json. The units sleep, so that what is measured is the hand-out and not how the
machine's processors were shared at the time: `extraction` has 12 units of 10 s (a small shard), `evaluation` 30 of 2 s
(a model on a small data set). start_s is from the call to the first unit, and holds the start of the workers: processes
or actors, which import the same. work_s is from the first unit to the end of the call. The cluster is started once,
before; its time is given alone (cluster_s). In each repeat local goes first in turn; ratios are of medians.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkd.executors.executor import Executor
from mmkd.executors.failures import check
from mmkd.executors.local import LocalExecutor
from mmkd.executors.ray import RaySettings, connect
from mmkd.executors.unit import Function, Unit, unit_id
from mmkd.folders.atomic import write_json

RESULT = Path(__file__).parent / "results" / "executor_engines.json"
SIZES = {"extraction": (12, 10.0), "evaluation": (30, 2.0)}
"""Units, and seconds of each."""


@dataclass(frozen=True)
class Took:
    start_s: float
    work_s: float

    @property
    def wall_s(self) -> float:
        return self.start_s + self.work_s


def sleep(given: tuple[str, float]) -> None:
    """Sleep, and leave when it began."""
    path, seconds = given
    start = time.time()
    time.sleep(seconds)
    write_json(Path(path), {"start": start})


def took(executor: Executor, number: int, seconds: float) -> Took:
    """How long the executor takes for so many units."""
    with TemporaryDirectory() as name:
        dones = [Path(name) / f"{one}.done" for one in range(number)]
        units = [Unit(unit_id(done.stem), done.stem, done, (str(done), seconds)) for done in dones]
        start = time.time()
        check(executor.map(units, by_name(), Path(name) / ".units" / "sleep"))
        end = time.time()
        first = min(json.loads(done.read_text())["start"] for done in dones)
    return Took(first - start, end - first)


def by_name() -> Function:
    """`sleep` of the module that workers import, where this file is the program."""
    import executor_engines

    return executor_engines.sleep


def compared(workers: int, repeats: int, number: int, seconds: float) -> dict[str, list[Took]]:
    """The times of both, in turn."""
    executors = {"local": LocalExecutor(workers), "ray": RaySettings(workers=workers).open()}
    found: dict[str, list[Took]] = {name: [] for name in executors}
    for turn in range(repeats):
        for name in list(executors)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(took(executors[name], number, seconds))
            print(f"  {name}: {found[name][-1]}", flush=True)
    return found


def median(times: Sequence[Took], what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(SIZES))
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    connect(None, given.workers, {"CPU": 1})
    result: dict[str, object] = {"workers": given.workers, "cluster_s": time.perf_counter() - start}
    print(f"a cluster of one node starts in {result['cluster_s']:.1f} s", flush=True)
    for size in given.sizes.split(","):
        number, seconds = SIZES[size]
        print(f"{size}: {number} units of {seconds:g} s, {given.workers} workers", flush=True)
        found = compared(given.workers, given.repeats, number, seconds)
        row: dict[str, object] = {"units": number, "seconds": seconds, "ideal_s": number * seconds / given.workers}
        for what in ("start_s", "work_s", "wall_s"):
            local, ray = median(found["local"], what), median(found["ray"], what)
            row[what] = {"local": local, "ray": ray, "ratio": ray / local}
            print(f"  {what}: local {local:.2f}, ray {ray:.2f}, ratio {ray / local:.3f}", flush=True)
        result[size] = row
    write_json(RESULT, result)


if __name__ == "__main__":
    import executor_engines

    executor_engines.main()
