"""What runs in a task of a job array."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from mmkd.executors.plan import Plan
from mmkd.executors.remote import begin, print_to
from mmkd.executors.unit import Function
from mmkd.executors.work import taken


class TimeLimitError(Exception):
    """A unit was cut off by the time limit of its job, after it had most of that to itself."""


@dataclass(frozen=True)
class ArrayTask:
    """A worker; submitit carries it to the job and calls it there. limit_s: the job's time limit, seconds."""

    plan: Plan
    name: str
    place: float
    limit_s: float

    def __call__(self) -> None:
        plan = self.plan
        print_to(plan.log(self.name))
        job = os.environ.get("SLURM_JOB_ID", "of this machine")
        times = os.environ.get("SLURM_RESTART_COUNT", "0")
        print(f"{self.name}: process {os.getpid()} on {socket.gethostname()}, job {job}, put back {times} times")
        begin()
        clock = Clock(plan.function, self.limit_s)
        signal.signal(signal.SIGUSR2, clock.on_warning)
        signal.signal(signal.SIGTERM, clock.on_end)
        for _ in taken(replace(plan, function=clock), self.name, self.place):
            if clock.is_over:
                _put_back(job)
                break


class Clock:
    """A function of units that knows how long the current one takes, and what Slurm's signals then mean.

    Slurm warns with SIGUSR2 before the time limit and, where the cluster is set up so, before it takes the node. With
    SIGTERM it ends the job, for these reasons or as somebody asked for it, and kills it some seconds later.
    """

    def __init__(self, function: Function, limit_s: float) -> None:
        self.is_over = False
        self._function, self._limit_s = function, limit_s
        self._start: float | None = None

    def __call__(self, payload: Any) -> None:
        self._start = time.monotonic()
        try:
            self._function(payload)
        finally:
            self._start = None

    def on_warning(self, number: int, frame: FrameType | None) -> None:
        """Begin no other unit."""
        self.is_over = True

    def on_end(self, number: int, frame: FrameType | None) -> None:
        """Leave the unit to others, as one that has not failed; unless it is too long for any job."""
        self.is_over = True
        if self._start is not None and time.monotonic() - self._start > self._limit_s / 2:
            raise TimeLimitError(
                f"the time limit of {self._limit_s / 60:.0f} minutes cut the unit off, which had more than half of "
                "that; set executor.timeout_min higher"
            )
        raise SystemExit(128 + number)


def _put_back(job: str) -> None:
    """Have Slurm start this task again, with its full time. Where it may not be, the driver starts another one."""
    if job.isdecimal():
        subprocess.run(["scontrol", "requeue", job], check=False)
