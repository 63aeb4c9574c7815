"""Trainings of one stage at the same time: which may be handed out, each as a unit, and what is told of them."""

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.distributed import World
from mmkd.errors import MmkdError, TrainingError
from mmkd.executors.local import LocalExecutor, LocalSettings, is_in_process
from mmkd.executors.plan import LEASE, notes_of
from mmkd.executors.remote import end_of
from mmkd.executors.unit import Outcome, Resources, Unit, gpus_of, unit_id
from mmkd.folders.atomic import write_json
from mmkd.folders.locks import is_owned
from mmkd.pipeline.standing import BROKEN, COMPLETE, STALE, Standing
from mmkd.processes import ended_softly
from mmkd.progress import PLAIN_EVERY_S, repeated, say
from mmkd.settings import Machine, own_processors

if TYPE_CHECKING:
    from mmkd.pipeline.run import Run

LOGS = "logs"  # of trainings that others do, below the run's folder
LOG = "training.log"
LOOK_S = 1.0
LOADERS_S = 20.0  # torch's look for the process that they load for every five seconds
Training = Callable[..., None]
"""Called with the run, and with the world as a second argument or alone; picklable."""


@dataclass(frozen=True)
class Job:
    """A training as a worker gets it. mark: the file that says that it is finished."""

    training: Training
    run: "Run"
    name: str
    log: Path
    mark: Path


def to_hand_out(trainings: Mapping[str, Training], run: "Run", world: World) -> list[str]:
    """Names of those that the run's executor is to hand out: none where this process does them one after another.

    That is so with one worker, with `[machine] gpus` above 1, under torchrun, and for a single one that a process of
    this machine would do. Finished trainings, and those that a run without --force refuses, are never handed out.
    """
    if world.size > 1 or run.recipe.machine.gpus > 1 or run.standings is not None or is_in_process(run.executor):
        return []
    found = [name for name, training in trainings.items() if _is_work(_standings(training, run))]
    return found if len(found) > 1 or not isinstance(run.executor, LocalExecutor) else []


def _standings(training: Training, run: "Run") -> Mapping[str, Standing]:
    found: dict[str, Standing] = {}
    training(replace(run, standings=found))
    return found


def _is_work(found: Mapping[str, Standing]) -> bool:
    """Of the folders that a training leaves; one that another process works on is waited for."""
    states = {one.state for one in found.values()}
    return states != {COMPLETE} and not states & {STALE, BROKEN}


def hand_out(trainings: Mapping[str, Training], run: "Run", stage: str) -> Iterator[str]:
    """Have them done; yields the name of each that is finished.

    One that fails does not keep the others from being finished; raises TrainingError at the end that names it and its
    log. After SIGTERM the trainings on this machine save; then SystemExit is raised, with code 0.
    """
    if not trainings:
        return
    notes, executor = notes_of(run.out / stage), run.executor
    is_here = isinstance(executor, LocalExecutor)
    machine = shared_machine(run, len(trainings)) if is_here else run.recipe.machine
    units = [_unit(training, run, name, machine, notes) for name, training in trainings.items()]
    say(f"{stage}: {len(units)} trainings are handed out: {', '.join(trainings)}")
    failed: list[Outcome] = []
    with repeated(Watch(units, notes).tell, LOOK_S), ended_softly() if is_here else nullcontext():
        for number, outcome in enumerate(executor.map(units, work, notes, _needs(machine)), start=1):
            name, log = outcome.unit.label, outcome.unit.payload.log
            end = f"failed, see {log}\n  {outcome.problem}" if outcome.problem else "finished"
            say(f"[{number}/{len(units)}] {name}: {end}")
            if outcome.problem:
                failed.append(outcome)
            else:
                yield name
    if failed:
        lines = [f"  {one.unit.label}: {one.problem} (its log: {one.unit.payload.log})" for one in failed]
        raise TrainingError(
            f"{len(failed)} of {len(units)} trainings failed; what is finished is kept: mend the reason and run the "
            "same command again, which goes on from the newest checkpoints\n" + "\n".join(lines)
        )


def shared_machine(run: "Run", number: int) -> Machine:
    """`[machine]` of each of so many trainings that processes of this machine do.

    Those that work at the same time share the processors, where the recipe leaves open how many each has.
    """
    executor: Any = run.executor
    machine, share = run.recipe.machine, max(1, own_processors() // min(executor.workers or 1, number))
    workers = share if machine.workers is None else machine.workers
    return machine.model_copy(update={"threads": machine.threads or share, "workers": workers})


def _needs(machine: Machine) -> Resources:
    cpus = max(1, machine.threads, machine.loaders)
    if machine.device == "cpu":
        return Resources(cpus)
    import torch

    return Resources(cpus, gpus_of(machine.device, torch.cuda.is_available()))


def _unit(training: Training, run: "Run", name: str, machine: Machine, notes: Path) -> Unit:
    """Complete when its mark is there: one that an earlier call has left goes, as the training's folder is not
    finished, or is to be made anew. The marks go with the notes when all are finished."""
    recipe = run.recipe.model_dump(mode="json", exclude={"machine", "executor"})
    made_from = unit_id(recipe, str(run.out), name, run.force)
    mark = notes / f"{made_from}.done"
    mark.unlink(missing_ok=True)
    alone = run.recipe.model_copy(update={"machine": machine, "executor": LocalSettings(workers=1)})
    job = Job(training, replace(run, recipe=alone), name, run.out / LOGS / name / LOG, mark)
    return Unit(made_from, name, mark, job)


def work(job: Job) -> None:
    """Do the training as a run of one process does, with all that it has to say in its log."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    _wait_for(job.run.out / job.name)
    with job.log.open("a", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        print(f"{job.name}: process {os.getpid()} on {socket.gethostname()}, {time.strftime('%F %T')}")
        try:
            job.training(job.run)
        except MmkdError as error:
            print(error)
            raise
        except Exception:
            traceback.print_exc()
            raise
    write_json(job.mark, {"training": job.name})


def _wait_for(folder: Path) -> None:
    """Until the image loaders of a worker that was killed, which have its lock, see that it is gone."""
    until = time.monotonic() + LOADERS_S
    while is_owned(folder) and time.monotonic() < until:
        time.sleep(LOOK_S / 5)


class Watch:
    """What the command says of trainings at work, from their leases and logs alone. every_s: between two last lines."""

    def __init__(self, units: Sequence[Unit], notes: Path, every_s: float = PLAIN_EVERY_S) -> None:
        self._units, self._notes, self._every_s = units, notes, every_s
        self._begun: set[str] = set()
        self._said = time.monotonic()

    def tell(self) -> None:
        """Which have begun, and at times the last line of each that runs."""
        is_due = time.monotonic() - self._said >= self._every_s
        for unit in self._units:
            if not (self._notes / f"{unit.id}{LEASE}").exists():
                continue
            if unit.id not in self._begun:
                self._begun.add(unit.id)
                say(f"  {unit.label}: runs; its log: {unit.payload.log}")
            elif is_due and (lines := end_of(unit.payload.log).split("\n")[:-1]):
                say(f"  {unit.label}: {lines[-1].strip()}")
        if is_due:
            self._said = time.monotonic()
