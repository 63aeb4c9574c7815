"""`mmkd runs`: which runs there are and how far they have come."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.commands.options import Json
from mmkd.errors import DataError

if TYPE_CHECKING:
    from mmkd.pipeline.status import RunState, TrainingState

NONE = "–"
SIZES = (("d", 86400), ("h", 3600), ("min", 60))


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER...]", help="Runs, or folders of runs. [default: runs]")
    ] = None,
    curves: Annotated[bool, typer.Option("--curves", help="Also write each run's curves.html.")] = False,
    as_json: Json = False,
) -> None:
    """List runs: what is done, how far the training is, how good the student is. Loads no model and waits for none."""
    from mmkd.pipeline.status import find_runs, read_run

    asked = folders or [Path("runs")]
    for folder in asked:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}; give the folder of a run, or one that runs lie in")
    found = [read_run(place) for place in dict.fromkeys(place for folder in asked for place in find_runs(folder))]
    if curves:
        _write_curves(found)
    print(json.dumps([asdict(one) for one in found], indent=1)) if as_json else _print(found, asked)


def _write_curves(found: Sequence["RunState"]) -> None:
    from mmkd.report.training_page import write_curves

    for one in found:
        if not one.broken:
            write_curves(Path(one.folder))


def _print(found: Sequence["RunState"], asked: Sequence[Path]) -> None:
    from rich.table import Table

    from mmkd.progress import console

    if not found:
        print(f"no runs in {', '.join(map(str, asked))}; 'mmkd run RECIPE' makes one")
        return
    columns = ("run", "recipe", "state", "training", "step", "loss", "pairs/s", "validation", "zero-shot", "written")
    table = Table(*columns)
    now = datetime.now(UTC)
    for one in found:
        table.add_row(*_row(one, now))
    terminal = console(len(columns))
    terminal.print(table)
    for one in (*found, *_units_of_ablations(asked)):
        for line in units_lines(one):
            terminal.print(line, soft_wrap=True)
        if one.broken:
            terminal.print(f"{one.folder}: {one.broken}", soft_wrap=True)


def _units_of_ablations(asked: Sequence[Path]) -> "list[RunState]":
    """In the folders that ablations lie in, which are no runs themselves."""
    from mmkd.executors.state import units_beside
    from mmkd.pipeline.status import RunState, is_run

    return [RunState(str(one), one.name, units=[*units_beside(one)]) for one in asked if not is_run(one)]


def units_lines(one: "RunState") -> list[str]:
    """A line for each part of a stage whose work is handed out, and below it its workers and what failed."""
    lines = []
    for part in one.units:
        counts = f"{part.done:,} of {part.total:,} units done, {part.running:,} running, {len(part.failed):,} failed"
        lines.append(f"{one.folder}, {part.name}: {counts}")
        for worker in part.workers:
            told = f"{worker.done:,} done" + (f", {worker.failed:,} failed attempts" if worker.failed else "")
            lines.append(f"  {worker.name}: {told}" + (f", at work on {worker.unit}" if worker.unit else ""))
        lines += [f"  failed: {label}: {problem.splitlines()[0]}" for label, problem in part.failed.items()]
    return lines


def _row(one: "RunState", now: datetime) -> list[str]:
    if one.broken:
        return [one.folder, NONE, "broken", *[NONE] * 7]
    zero_shot = NONE if one.zero_shot is None else f"{100 * one.zero_shot:.1f} %"
    return [one.folder, one.recipe or NONE, state(one), *_training(one.training), zero_shot, age(one.written, now)]


def state(one: "RunState") -> str:
    """In a word or two: the stage that runs, else the first that was cut off, else the last that is complete."""
    from mmkd.pipeline.table import STAGES

    for wanted in ("running", "partial"):
        if hit := [stage for stage, is_now in one.stages.items() if is_now == wanted]:
            return f"{hit[0]} {wanted}"
    lacking = [name for name, is_now in one.stages.items() if is_now == "to do" and not STAGES[name].section]
    if not lacking:
        return "complete"
    done = [stage for stage, is_now in one.stages.items() if is_now == "complete"]
    return f"{done[-1]} complete" if done else f"{lacking[0]} to do"


def _training(one: "TrainingState | None") -> list[str]:
    if one is None:
        return [NONE] * 5
    step = f"{one.step:,}" if one.total is None else f"{one.step:,} of {one.total:,}"
    numbers = [(one.loss, ".4g"), (one.pairs_per_s, ",.0f"), (one.best, ".4f")]
    return [one.name, step, *(NONE if value is None else format(value, how) for value, how in numbers)]


def age(written: str, now: datetime) -> str:
    """How long ago a time was, in its largest unit."""
    if not written:
        return NONE
    seconds = max(0.0, (now - datetime.fromisoformat(written)).total_seconds())
    for unit, size in SIZES:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
