"""The replicates of the bootstrap in units that an executor hands out: some blocks of draws of a data set or a subset.

The scores of a data set are made three times: here without replicates, which shows what there is to draw and costs
little; by each worker likewise, with the replicates of its own blocks; and here with what the workers have left. No
worker decides anything, and blocks put together are what one process computes, to the bit.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.evaluation.format.predictions import PREDICTIONS, Predictions, predictions_of, predictions_on
from mmkd.evaluation.summary.scored import Plan, scored_of
from mmkd.evaluation.summary.scores import Replicates, replicates_of
from mmkd.evaluation.tasks.table import TASKS
from mmkd.evaluation.tasks.task import Task
from mmkd.executors.executor import Executor
from mmkd.executors.failures import check
from mmkd.executors.local import is_in_process
from mmkd.executors.plan import notes_of
from mmkd.executors.resident import resident
from mmkd.executors.unit import ONE, Unit, unit_id
from mmkd.folders.atomic import atomic_file
from mmkd.statistics.bootstrap import Draws

FOLDER = ".replicates"  # of the evaluation, while they are made
SHORTEST = 2**23  # models x replicates x samples of a unit: half a second or so; what is shorter is computed at the end
LEAST = 2**27  # of all units together; starting workers takes as long as computing less than that


@dataclass(frozen=True)
class Work:
    """A unit's payload: blocks of the draws of that name. folder: of the evaluation. cells: models x replicates x
    samples."""

    folder: Path
    task: str
    dataset: str
    name: str
    first: int
    last: int
    plan: Plan
    file: Path
    cells: int


@contextmanager
def handed_out(folder: Path, plan: Plan, executor: Executor | None) -> Iterator[Plan]:
    """The plan, in the block with replicates that workers have computed, where that pays.

    What they have left is kept when a call is cut off, and removed when the block has ended well.
    """
    home = folder / FOLDER
    units = [] if executor is None or is_in_process(executor) else list(_units(folder, plan))
    if executor is None or sum(unit.payload.cells for unit in units) < LEAST:
        shutil.rmtree(home, ignore_errors=True)  # of a call with workers that was cut off
        yield plan
        return
    home.mkdir(exist_ok=True)
    for path in set(home.iterdir()) - {unit.done for unit in units}:  # of other predictions, or a worker that was lost
        path.unlink()
    check(executor.map(units, measure, notes_of(folder, "intervals"), ONE))
    yield replace(plan, resampling=replace(plan.resampling, replicated=_Stored(_by_name(units))))
    shutil.rmtree(home)


def _by_name(units: list[Unit]) -> dict[str, list[Path]]:
    """Name of the draws -> their files, in order."""
    found: dict[str, list[Path]] = {}
    for unit in units:
        found.setdefault(unit.payload.name, []).append(unit.done)
    return found


def _units(folder: Path, plan: Plan) -> Iterator[Unit]:
    """Of all draws that take longer than handing them out does."""
    for task_name, task in TASKS.items():
        for predictions in predictions_of(folder, task_name):
            dataset = next(iter(predictions.values())).facts.dataset
            seen = _Seen()
            scored_of(task, predictions, _with(plan, seen))
            files = sorted((folder / PREDICTIONS / task_name / dataset).glob("*.parquet"))
            stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
            made_from = [stamps, plan.resampling.replicates, plan.resampling.seed, sorted(plan.leaked(dataset))]
            for name, draws in seen.draws.items():
                for first, last, cells in pieces(draws, len(predictions)):
                    id_ = unit_id(made_from, name, first, last)
                    file = folder / FOLDER / f"{id_}.npz"
                    work = Work(folder, task_name, dataset, name, first, last, plan, file, cells)
                    label = f"intervals of {name}, from block {first + 1}"
                    yield Unit(id_, label, file, work, f"{task_name}/{dataset}")


def pieces(draws: Draws, models: int) -> list[tuple[int, int, int]]:
    """First block, the one behind the last, and models x replicates x samples of each unit; none for short work."""
    samples = len(draws.unit_N) * models
    if draws.replicates * samples < SHORTEST:
        return []
    blocks = math.ceil(draws.replicates / draws.rows)
    size = max(1, SHORTEST // (draws.rows * samples))
    firsts = range(0, blocks, size)
    return [
        (first, min(first + size, blocks), samples * min(size * draws.rows, draws.replicates - first * draws.rows))
        for first in firsts
    ]


def measure(work: Work) -> None:
    """Write what the unit's blocks give: (model, metric) -> (R,), nothing for a subset that cannot be measured."""
    task, place = TASKS[work.task], work.folder / PREDICTIONS / work.task / work.dataset
    predictions = resident(f"{work.task}/{work.dataset}", lambda: predictions_on(place))
    part = _Part(work.name, slice(work.first, work.last))
    scored_of(task, predictions, _with(work.plan, part))
    arrays = {str(number): value_R for number, value_R in enumerate(part.found.values())}
    names = np.frombuffer(json.dumps(list(part.found)).encode(), np.uint8)
    with atomic_file(work.file) as stream:
        np.savez(stream, names=names, **arrays)  # type: ignore[arg-type]


def _with(plan: Plan, replicated: Any) -> Plan:
    return replace(plan, resampling=replace(plan.resampling, replicated=replicated))


@dataclass
class _Seen:
    """Gives no replicates, and notes what there is to draw."""

    draws: dict[str, Draws] = field(default_factory=dict)

    def __call__(self, name: str, task: Task[Any], predictions: Mapping[str, Predictions], draws: Draws) -> Replicates:
        self.draws[name] = draws
        return {}


@dataclass
class _Part:
    """Computes some blocks of one name, and gives no replicates of others."""

    name: str
    only: slice
    found: Replicates = field(default_factory=dict)

    def __call__(self, name: str, task: Task[Any], predictions: Mapping[str, Predictions], draws: Draws) -> Replicates:
        if name == self.name:
            self.found = replicates_of(name, task, predictions, draws, self.only)
        return {}


@dataclass(frozen=True)
class _Stored:
    """Gives what workers have left, and computes the rest."""

    files: Mapping[str, list[Path]]

    def __call__(self, name: str, task: Task[Any], predictions: Mapping[str, Predictions], draws: Draws) -> Replicates:
        parts = [_read(path) for path in self.files.get(name, ())]
        if not parts or not all(parts):  # of a subset that cannot be measured, the reason is found here again
            return replicates_of(name, task, predictions, draws)
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _read(path: Path) -> Replicates:
    with np.load(path, allow_pickle=False) as held:
        names = json.loads(held["names"].tobytes())
        return {(model, metric): held[str(number)] for number, (model, metric) in enumerate(names)}
