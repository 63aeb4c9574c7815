"""The jobs of one plan: which ones are in the queue, which have ended, and how they are ended."""

import getpass
import hashlib
import re
import subprocess
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mmkd.errors import ConfigError
from mmkd.executors.plan import Plan, read_note, write_note
from mmkd.executors.remote import add_to_log, end_of
from mmkd.progress import say

NOTE = "slurm.json"
PATIENCE_S = 5.0  # for tasks that have nothing left to do
SILENCE_S = 300.0  # of the queue, after which a line says so
LOOKS = 2  # in a row in which a task is missing, before it has ended: while it is put back, it may be missing in one


class Jobs(Protocol):
    """name: of the jobs of this plan, in the queue."""

    name: str

    def submitted(self, jobs: Mapping[str, Any]) -> list["Task"]:
        """The workers of these jobs; name of the worker -> submitit's job."""
        ...

    def left_behind(self) -> list["Task"]:
        """The workers of jobs that an earlier driver of the same work has submitted and that have not ended."""
        ...

    def is_alive(self, task: "Task") -> bool: ...

    def end(self) -> None:
        """End all that were given out."""
        ...


@dataclass
class Task:
    """A worker as its driver sees it. job: id, of Slurm's `12_3` for task 3 of array 12."""

    name: str
    job: str
    output: Path
    jobs: Jobs
    plan: Plan
    was_taken: bool = False  # Slurm puts such a task back into the queue: it is alive

    def is_alive(self) -> bool:
        """As `Worker.is_alive`; also in the queue."""
        if self.jobs.is_alive(self):
            return True
        log = self.plan.log(self.name)
        add_to_log(log, f"{self.name}: job {self.job} has ended; the end of {self.output}:\n{end_of(self.output)}")
        return False

    def end(self) -> None:
        """As `Worker.end`, of all at once."""
        self.jobs.end()


class SlurmJobs:
    """Jobs in Slurm's queue, under a name of the plan's folder, and a note that says which worker is which job."""

    def __init__(self, plan: Plan, poll_s: float) -> None:
        self.name = job_name(plan.folder)
        self._plan, self._poll_s = plan, poll_s
        self._tasks: dict[str, Task] = {}
        self._missing: dict[str, int] = {}
        self._looked = -float("inf")
        self._answered = time.monotonic()

    def submitted(self, jobs: Mapping[str, Any]) -> list[Task]:
        """As `Jobs.submitted`; the note is for drivers to come."""
        tasks = [Task(name, job.job_id, job.paths.stderr, self, self._plan) for name, job in jobs.items()]
        note = self._note()
        note["jobs"] = {**note.get("jobs", {}), **{task.job: [task.name, str(task.output)] for task in tasks}}
        write_note(self._plan.folder / NOTE, {**note, "units": _ids(self._plan), "function": _function(self._plan)})
        return self._given(tasks)

    def _note(self) -> dict[str, Any]:
        """Of tasks that do what this plan wants, {} where they do something else."""
        note = read_note(self._plan.folder / NOTE)
        is_ours = note.get("function") == _function(self._plan) and set(_ids(self._plan)) <= set(note.get("units", ()))
        return note if is_ours else {}

    def left_behind(self) -> list[Task]:
        """As `Jobs.left_behind`. Jobs of this name that did other units are ended: nobody asks for those now."""
        queued = _queue(self.name) or {}
        jobs = self._note().get("jobs", {})
        found = {job: jobs[job] for job in queued if job in jobs and job not in self._tasks}
        _cancel([job for job in queued if job not in jobs and job not in self._tasks])
        return self._given([Task(name, job, Path(output), self, self._plan) for job, (name, output) in found.items()])

    def _given(self, tasks: list[Task]) -> list[Task]:
        self._tasks |= {task.job: task for task in tasks}
        self._looked = -float("inf")
        return tasks

    def is_alive(self, task: Task) -> bool:
        """As the last look at the queue has it."""
        if time.monotonic() - self._looked >= self._poll_s:
            self._look()
        return self._missing.get(task.job, 0) < LOOKS

    def _look(self) -> None:
        found = _queue(self.name)
        self._looked = time.monotonic()
        if found is not None:
            self._answered = self._looked
            self._missing = {job: 0 if job in found else self._missing.get(job, 0) + 1 for job in self._tasks}
        elif self._looked - self._answered > SILENCE_S:
            self._answered = self._looked
            say(f"  squeue has not answered for {SILENCE_S / 60:.0f} minutes; still waiting")

    def end(self) -> None:
        """Of those that run, each has some seconds to end by itself."""
        ours, self._tasks = set(self._tasks), {}
        if not ours:
            return
        until = time.monotonic() + PATIENCE_S
        while ours & (queued := _queue(self.name) or {}).keys():
            _cancel([job for job in ours & queued.keys() if queued[job] == "PENDING" or time.monotonic() > until])
            if time.monotonic() > until:
                break
            time.sleep(0.5)


@dataclass
class LocalJobs:
    """Jobs that submitit runs as processes of this machine; a new driver does not find them, they end by themselves."""

    plan: Plan
    name: str = "local"
    _found: dict[str, Any] = field(default_factory=dict)

    def submitted(self, jobs: Mapping[str, Any]) -> list[Task]:
        """As `Jobs.submitted`."""
        self._found |= {job.job_id: job for job in jobs.values()}
        return [Task(name, job.job_id, job.paths.stderr, self, self.plan) for name, job in jobs.items()]

    def left_behind(self) -> list[Task]:
        """None."""
        return []

    def is_alive(self, task: Task) -> bool:
        """Whether submitit's process for it runs."""
        return not self._found[task.job].done()

    def end(self) -> None:
        """As of `SlurmJobs`."""
        until = time.monotonic() + PATIENCE_S
        while any(not job.done() for job in self._found.values()) and time.monotonic() < until:
            time.sleep(0.1)
        for job in self._found.values():
            if not job.done():
                job.cancel()
        self._found = {}


def job_name(folder: Path) -> str:
    """Of all jobs of the plan with these notes: readable, and no two folders share it."""
    path = folder.resolve()
    readable = re.sub(r"[^A-Za-z0-9_-]", "", path.name)[:20]
    return f"mmkd-{readable}-{hashlib.sha256(str(path).encode()).hexdigest()[:10]}"


def _ids(plan: Plan) -> list[str]:
    return sorted(unit.id for unit in plan.units)


def _function(plan: Plan) -> str:
    return f"{plan.function.__module__}.{getattr(plan.function, '__qualname__', type(plan.function).__qualname__)}"


def _queue(name: str) -> dict[str, str] | None:
    """Id of each job of this name and user -> its state; None where the queue does not answer just now."""
    user = getpass.getuser()
    command = ["squeue", "--noheader", "--array", f"--user={user}", f"--name={name}", "--format=%i|%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except FileNotFoundError:
        raise ConfigError("there is no squeue on this machine; run the command where jobs are submitted") from None
    except (subprocess.SubprocessError, OSError):
        return None
    return {job: state for job, _, state in (line.strip().partition("|") for line in answer.splitlines()) if state}


def _cancel(jobs: Collection[str]) -> None:
    if jobs:
        with suppress(subprocess.SubprocessError, OSError):
            subprocess.run(["scancel", *jobs], capture_output=True, timeout=60, check=False)
