"""How far handed-out work is, from the notes of drivers and workers alone; nothing heavy is imported."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.executors.plan import FAILED, LEASE, NOTES, UNITS, WORKER, read_note
from mmkd.folders.leases import holder_of, is_gone


@dataclass(frozen=True)
class WorkerLine:
    """A worker that has begun. unit: label of what it is at work on, "" for nothing. done, failed: its attempts."""

    name: str
    unit: str
    done: int
    failed: int


@dataclass(frozen=True)
class UnitsState:
    """Of one call of `Executor.map` whose notes are there: it is at work, was cut off, or has units that failed.

    name: of the stage and its part. total: units that were not done when it began. running: held by a worker that is
    not known to be gone. failed: for good, label -> why.
    """

    name: str
    total: int
    done: int
    running: int
    failed: dict[str, str]
    workers: list[WorkerLine]


def units_beside(folder: Path) -> Iterator[UnitsState]:
    """Of the stages whose folders lie in this one, in the order of their names."""
    for notes in sorted((folder / NOTES).glob(f"[!.]*/{UNITS}")):
        yield _read(notes.parent)


def _read(notes: Path) -> UnitsState:
    listed = [one for one in read_note(notes / UNITS).get("units", []) if _is_unit(one)]
    holders = {path.name.removesuffix(LEASE): holder_of(path) for path in notes.glob(f"*{LEASE}")}
    at_work = {name: holder for name, holder in holders.items() if holder and not is_gone(holder)}
    failed, done = {}, 0
    for name, label, place in listed:
        attempts = read_note(notes / f"{name}{FAILED}")
        if (notes / place).is_file():
            done += 1
        elif attempts.get("is_final"):
            failed[label] = str(attempts.get("problem", ""))
    names = {holder["who"] for holder in at_work.values()}
    found = (read_note(path) for path in sorted(notes.glob(f"*{WORKER}")))
    workers = [_line(one, names) for one in found if isinstance(one.get("name"), str)]
    running = sum(name in at_work for name, _, _ in listed)
    return UnitsState(notes.name, len(listed), done, running, failed, workers)


def _is_unit(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 3 and all(isinstance(part, str) for part in found)


def _line(note: dict[str, Any], at_work: set[str | int]) -> WorkerLine:
    unit = str(note.get("unit", "")) if note["name"] in at_work else ""
    return WorkerLine(note["name"], unit, _number(note.get("done")), _number(note.get("failed")))


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
