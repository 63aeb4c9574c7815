"""The executor of one machine: processes that take the next unit as they are free; one worker is this process."""

import multiprocessing
import multiprocessing.process
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from mmkd.executors.drive import SHORTEST_S, Board, drive
from mmkd.executors.executor import Executor, Worker
from mmkd.executors.plan import Plan
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit
from mmkd.executors.work import taken, work
from mmkd.processes import PROCESSED, begin_worker, start_deaf
from mmkd.settings import Settings

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
        plan = Plan(tuple(unit for unit in units if not unit.is_done), function, folder)
        workers = min(self.workers or resources.workers, len(plan.units))
        if workers > 1:
            yield from drive(plan, Processes(workers))
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


@dataclass(frozen=True)
class Processes:
    """A crew of fresh processes. size: at a time."""

    size: int

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Worker]:
        """As `Crew.start`."""
        context = multiprocessing.get_context("spawn")  # forking a process with threads (Arrow's, torch's) may hang
        seen = PROCESSED.share(context)  # again for later ones: who was killed may have held the lock of the first
        workers = []
        for number, name in enumerate(names):
            arguments = (plan, name, number / len(names), seen)
            process = context.Process(target=_serve, args=arguments, name=name)
            start_deaf(process)
            workers.append(_Process(name, process, seen))
        return workers


@dataclass(frozen=True)
class _Process:
    """seen: kept for as long as the process, which opens it by its name when it begins."""

    name: str
    process: multiprocessing.process.BaseProcess
    seen: "Synchronized[int]"
    was_taken: bool = False

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def end(self) -> None:
        if sys.exc_info()[0] is None:
            self.process.join(PATIENCE_S)
        self.process.kill()
        self.process.join()


def _serve(plan: Plan, name: str, place: float, seen: "Synchronized[int]") -> None:
    """What a worker process does; what it prints goes to its log."""
    log = os.open(plan.log(name), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(log, stream)
    begin_worker(seen)
    work(plan, name, place)
