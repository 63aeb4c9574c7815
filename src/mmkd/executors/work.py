"""A worker: takes the next unit that nobody has, does it, and ends when there is none."""

import os
import socket
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from mmkd.errors import MmkdError
from mmkd.executors.attempts import add_attempt, outcome_of
from mmkd.executors.failures import mendable
from mmkd.executors.plan import Plan, overwrite_note, read_note
from mmkd.executors.queue import Queue
from mmkd.executors.resident import release
from mmkd.executors.unit import Unit
from mmkd.folders.leases import Lease, take


@dataclass
class WorkerState:
    """machine, process: where it is. unit: label of what it works on, "" for nothing. done, failed: attempts. work_s:
    seconds spent in units. ended: it has found nothing more to do."""

    name: str
    machine: str
    process: int
    unit: str = ""
    done: int = 0
    failed: int = 0
    work_s: float = 0.0
    ended: bool = False


def has_touched_a_unit(plan: Plan, name: str) -> bool:
    """Whether a worker that has ended was at work on a unit at some time, or found that there was nothing to do.

    One that was killed during its first unit was; one that could not make a lease was not.
    """
    found = read_note(plan.worker(name))
    return any(found.get(key) for key in ("unit", "done", "failed", "ended"))


def work(plan: Plan, name: str, place: float = 0.0) -> None:
    """Do units until there is none that nobody else has. Any number of workers may do so, on any machine.

    name: of this worker, in leases and notes; no other has it. place: 0..1, where among the units to begin, so that
    workers begin apart and a model is loaded by few of them. A unit that raises counts as an attempt that failed; an
    error that the user must mend (`MmkdError`) is final. Raises nothing of the units.
    """
    for _ in taken(plan, name, place):
        pass


def taken(plan: Plan, name: str, place: float = 0.0, stay_whole: bool = True) -> Iterator[Unit]:
    """Each unit when this worker is through with it, done or failed. stay_whole: a defect does not end the worker."""
    state = WorkerState(name, socket.gethostname(), os.getpid())
    queue = Queue(plan.units, place)
    _ask_the_server(plan.folder)
    overwrite_note(plan.worker(name), asdict(state))
    try:
        while (unit := queue.next(partial(_is_settled, plan), partial(_is_held, plan))) is not None:
            lease = _lease(plan, unit, name)
            if lease is not None:
                _do(plan, unit, state, lease, stay_whole)
                yield unit
            elif not plan.folder.is_dir():  # a driver has found everything done, or was stopped
                return
            queue.put_off(unit)
        state.ended = True
        overwrite_note(plan.worker(name), asdict(state))
    finally:
        release()


def _is_settled(plan: Plan, unit: Unit) -> bool:
    return outcome_of(plan, unit) is not None


def _is_held(plan: Plan, unit: Unit) -> bool:
    return plan.lease(unit).exists()


def _lease(plan: Plan, unit: Unit, name: str) -> Lease | None:
    """None where somebody else was faster, or a driver has found everything done and removed the folder."""
    try:
        return take(plan.lease(unit), name, plan.pace)
    except FileNotFoundError:
        if plan.folder.is_dir():
            raise
        return None


def _do(plan: Plan, unit: Unit, state: WorkerState, lease: Lease, stay_whole: bool) -> None:
    start = time.perf_counter()
    try:
        _ask_the_server(unit.done)
        if outcome_of(plan, unit) is not None:  # settled between the look and the lease
            return
        state.unit = unit.label
        overwrite_note(plan.worker(state.name), asdict(state))
        plan.function(unit.payload)
        if not unit.is_done:
            raise FileNotFoundError(f"the work on {unit.label} ended without an error, but {unit.done} is not there")
        state.done += 1
    except MmkdError as error:
        state.failed += 1
        add_attempt(plan, unit, state.name, str(error), mendable(error), traceback.format_exc(), is_final=True)
    except Exception as error:
        if not stay_whole:
            raise
        state.failed += 1
        add_attempt(plan, unit, state.name, f"{type(error).__name__}: {error}", "", traceback.format_exc())
    finally:
        state.unit, state.work_s = "", state.work_s + time.perf_counter() - start
        overwrite_note(plan.worker(state.name), asdict(state))
        lease.release()


def _ask_the_server(path: Path) -> None:
    """Network file systems remember for a while that a file is missing; opening its folder makes them look again."""
    with suppress(OSError):
        os.close(os.open(path.parent, os.O_RDONLY))
