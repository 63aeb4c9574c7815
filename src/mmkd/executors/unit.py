"""A unit of work, what it needs, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmkd.folders.digests import json_digest

Function = Callable[[Any], None]
"""What is done with a unit's payload. Of a module's top level, as it is pickled by its name. It leaves the file
`Unit.done` when all else is written, at once (`folders.atomic`), and may be called again after it was cut off."""


@dataclass(frozen=True)
class Unit:
    """A piece of work that any process may do, in any order, and more than once without harm.

    id: of what it is made from, see `unit_id`; a file is named after it. done: complete when this file is there. label:
    its name in messages. payload: for the function; picklable. resident: key of what the function keeps loaded from
    unit to unit (`resident.resident`), "" for nothing; a worker goes on with units of the key that it has.
    """

    id: str
    label: str
    done: Path
    payload: Any
    resident: str = ""

    @property
    def is_done(self) -> bool:
        return self.done.is_file()


def unit_id(*made_from: Any) -> str:
    """32 hexadecimal digits from JSON values; what is no JSON counts as its text."""
    return json_digest(made_from, sort_keys=True)[:32]


@dataclass(frozen=True)
class Resources:
    """What a worker needs, for engines that place workers on machines.

    cpus, gpus: of a worker; a part of a GPU is a fraction. memory_mb: MiB, 0 where it is not known. workers: how many
    work at a time where the executor's settings do not say it.
    """

    cpus: float = 1
    gpus: float = 0
    memory_mb: int = 0
    workers: int = 1


ONE = Resources()
"""A worker at a time, of one processor."""


def gpus_of(device: str, has_gpu: bool) -> float:
    """GPUs of a worker that computes on a device of the settings: one of its own, or none.

    A device with a number is a certain GPU of this machine, which all workers share; engines have none to give for it.
    """
    return 1.0 if has_gpu and device in ("auto", "cuda") else 0.0


class Outcome(NamedTuple):
    """A unit that is done, or that failed for good.

    problem: "" where it is done, else why not. error: the class of `mmkd.errors` that was raised, "" where it is none
    that a user can mend, as where a worker died. log: a file that says more.
    """

    unit: Unit
    problem: str = ""
    error: str = ""
    log: Path | None = None
