"""The executor of one machine: processes that take the next unit as they are free; one worker is this process."""

import multiprocessing
import multiprocessing.process
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from mmkd.executors.drive import SHORTEST_S, Board, drive
from mmkd.executors.executor import Executor, Worker
from mmkd.executors.plan import Plan, plan_of
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit
from mmkd.executors.work import taken, work
from mmkd.processes import PROCESSED, begin_worker, start_deaf
from mmkd.settings import Settings

GPUS = "CUDA_VISIBLE_DEVICES"
PATIENCE_S = 5.0  # for a worker that has nothing left to do


class LocalSettings(Settings):
    """Processes of this machine.

    kind: of the executor. workers: processes that work at the same time; 1 is the command's own process. Not given:
    what the stage takes by itself, which is `[machine] workers` for curation and 1 elsewhere.
    """

    kind: Literal["local"] = "local"
    workers: PositiveInt | None = None

    def open(self) -> Executor:
        """The executor of these settings."""
        return LocalExecutor(self.workers)


@dataclass(frozen=True)
class LocalExecutor:
    """workers: None leaves it to the stage."""

    workers: int | None = None

    def map(
        self, units: Sequence[Unit], function: Function, folder: Path, resources: Resources = ONE
    ) -> Iterator[Outcome]:
        """As `Executor.map`. In a single process a defect ends the work: it would fail there again."""
        plan = plan_of(units, function, folder)
        workers = min(self.workers or resources.workers, len(plan.units))
        if workers > 1:
            yield from drive(plan, Processes(workers, visible_gpus() if resources.gpus else ()))
        elif plan.units:
            yield from work_here(plan)


def is_in_process(executor: Executor) -> bool:
    """Whether the caller's own process does the work, where a stage asks for one worker: it may then read ahead."""
    return isinstance(executor, LocalExecutor) and executor.workers in (None, 1)


def work_here(plan: Plan) -> Iterator[Outcome]:
    """The outcomes of the plan's units, done in this process; waits for those that others are at work on."""
    board, name = Board(plan), f"{os.uname().nodename}-{os.getpid()}"
    try:
        while board.open:
            board.break_leases({})
            for unit in taken(plan, name, stay_whole=False):
                yield from board.settled([unit])
            yield from board.settled()
            if board.open:
                time.sleep(10 * SHORTEST_S)
    finally:
        board.close()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them. Starts nothing on them."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip()]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


@dataclass(frozen=True)
class Processes:
    """A crew of fresh processes. size: at a time. gpus: each process sees one of them, that with the fewest others;
    without any named, all see what this process sees."""

    size: int
    gpus: Sequence[str] = ()
    _started: "list[_Process]" = field(default_factory=list)

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Worker]:
        """As `Crew.start`."""
        context = multiprocessing.get_context("spawn")  # forking a process with threads (Arrow's, torch's) may hang
        seen = PROCESSED.share(context)  # again for later ones: who was killed may have held the lock of the first
        workers = []
        for number, name in enumerate(names):
            gpu = self._free_gpu()
            arguments = (plan, name, number / len(names), seen, gpu)
            process = context.Process(target=_serve, args=arguments, name=name)
            start_deaf(process)
            workers.append(_Process(name, process, seen, gpu))
            self._started.append(workers[-1])
        return workers

    def _free_gpu(self) -> str | None:
        taken = Counter(one.gpu for one in self._started if one.is_alive())
        return min(self.gpus, key=lambda gpu: taken[gpu], default=None)


@dataclass(frozen=True)
class _Process:
    """seen: kept for as long as the process, which opens it by its name when it begins. gpu: the one that it sees."""

    name: str
    process: multiprocessing.process.BaseProcess
    seen: "Synchronized[int]"
    gpu: str | None = None
    was_taken: bool = False

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def end(self) -> None:
        if sys.exc_info()[0] is None:
            self.process.join(PATIENCE_S)
        self.process.kill()
        self.process.join()


def _serve(plan: Plan, name: str, place: float, seen: "Synchronized[int]", gpu: str | None) -> None:
    """What a worker process does; what it prints goes to its log."""
    if gpu is not None:
        os.environ[GPUS] = gpu  # torch and ONNX Runtime read it when they first look for a GPU
    log = os.open(plan.log(name), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    begin_worker(seen)
    work(plan, name, place)
