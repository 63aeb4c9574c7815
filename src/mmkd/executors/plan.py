"""What a worker gets: the units, what to do with them, and where the notes lie."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.executors.unit import Function, Unit
from mmkd.folders.atomic import draft_of
from mmkd.folders.leases import PACE, Pace

MOST_ATTEMPTS = 3
MOST_TAKEN = 10  # machines that were lost while they had the unit
LEASE, FAILED, WORKER, LOG = ".lease", ".failed", ".worker", ".log"
UNITS = "units.json"
NOTES = ".units"


def notes_of(folder: Path, part: str = "") -> Path:
    """Where the notes lie of the work on a stage's folder, finished or partial: `.units/NAME` beside it, of which
    `mmkd runs` tells. part: of the stage, where it has several."""
    return folder.parent / NOTES / f"{folder.name.removesuffix('.partial')}{part and '-'}{part}"


@dataclass(frozen=True)
class Plan:
    """The work of one call of `Executor.map`; picklable, and handed to workers by the engine's own means: no worker
    unpickles a file of the folder. pace: of the heartbeats of leases."""

    units: Sequence[Unit]
    function: Function
    folder: Path
    pace: Pace = PACE

    def lease(self, unit: Unit) -> Path:
        """There while somebody works on the unit."""
        return self.folder / f"{unit.id}{LEASE}"

    def failed(self, unit: Unit) -> Path:
        """How often the unit has failed, and why, as JSON: see `attempts.Attempts`."""
        return self.folder / f"{unit.id}{FAILED}"

    def worker(self, name: str) -> Path:
        """What a worker does and has done, as JSON: see `work.WorkerState`."""
        return self.folder / f"{name}{WORKER}"

    def log(self, name: str) -> Path:
        """What a worker prints."""
        return self.folder / f"{name}{LOG}"


def plan_of(units: Sequence[Unit], function: Function, folder: Path) -> Plan:
    """The units that are not done. Where there are none, notes go that a killed driver left, whose workers went on."""
    plan = Plan(tuple(unit for unit in units if not unit.is_done), function, folder)
    if not plan.units:
        remove_notes(folder)
    return plan


def write_note(path: Path, value: Mapping[str, Any]) -> None:
    """JSON that a reader sees whole; not made to last through a power cut, and left out where the folder is gone."""
    draft = draft_of(path)
    with suppress(FileNotFoundError):
        draft.write_text(json.dumps(value))
        os.replace(draft, path)


def overwrite_note(path: Path, value: Mapping[str, Any]) -> None:
    """As `write_note`, for one writer that does so often: in place, since a rename over a file waits for the disk.

    A reader may see a part, and then finds no note.
    """
    data = json.dumps(value).encode()
    with suppress(FileNotFoundError):
        stream = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(stream, data.ljust(os.fstat(stream).st_size), 0)  # blanks behind a shorter one
        finally:
            os.close(stream)


def read_note(path: Path) -> dict[str, Any]:
    """What `write_note` left; empty where it is missing or damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def remove_notes(folder: Path) -> None:
    """Remove the notes of a call of `Executor.map`, and the folder around them where no other call has any.

    A worker whose driver was killed may write for some moments more; the folder is renamed first, so that it finds
    none to write into, rather than leaving a file in one that is being emptied.
    """
    with suppress(OSError):  # another driver was faster
        os.rename(folder, draft_of(folder))
    for path in folder.parent.glob(".*.tmp"):  # this one, and those of drivers that were killed here
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # other calls have notes there
        folder.parent.rmdir()
