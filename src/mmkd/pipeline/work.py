"""Stages at work: one, or all of a run, in one process or in those of torchrun."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmkd.distributed import World, join_world
from mmkd.errors import ConfigError, MmkdError, StaleError
from mmkd.folders.stage import status
from mmkd.pipeline.preflight import preflight, show_standings, standings
from mmkd.pipeline.run import Run
from mmkd.pipeline.standing import consequences
from mmkd.pipeline.table import STAGES, is_read
from mmkd.progress import say


def work_all(run: Run) -> None:
    """Every stage that the recipe has work for, in order.

    Under torchrun all processes come here: they share the parallel stages, and wait while rank 0 does the others.
    """
    start = time.perf_counter()
    with join_world() as world, told_of_changes(run):
        _on_rank_0(lambda: preflight(run), world)
        for spec in STAGES.values():
            if not spec.is_used(run):
                continue
            begun = time.perf_counter()
            if spec.parallel:
                spec.work(run, world)
            else:
                _on_rank_0(lambda spec=spec: spec.work(run), world)  # type: ignore[misc]
            if world.first:
                say(f"[{time.perf_counter() - start:6.0f} s] {spec.name} took {time.perf_counter() - begun:.1f} s")
        if world.first:
            print(f"student: {run.out / 'export'}\nreport:  {run.out / 'report' / 'index.html'}")


def work_one(run: Run, name: str, dry_run: bool = False) -> None:
    """One stage; dry_run: only say how it stands. Raises ConfigError when a stage before it is not finished."""
    require(run, name)
    if dry_run:
        show_standings(run, name)
        return
    with join_world() as world, told_of_changes(run, name):
        STAGES[name].work(run, world)


@contextmanager
def told_of_changes(run: Run, only: str = "") -> Iterator[None]:
    """A refusal says what --force would make anew and what it would keep."""
    try:
        yield
    except StaleError as stale:
        found = standings(run, only)
        raise ConfigError(f"{stale.what}; nothing was changed. Choose another --out; {consequences(found)}") from None


def require(run: Run, name: str) -> None:
    """Raise ConfigError when a stage before the named one, that others read, is not finished.

    Raises DataError when what it reads is damaged.
    """
    for spec in list(STAGES.values())[: list(STAGES).index(name)]:
        for folder in spec.paths(run) if is_read(spec) else []:
            if status(folder) != "complete":
                raise ConfigError(f"{name} needs {folder}, which is not finished; run 'mmkd {spec.name}' first")
    STAGES[name].check_inputs(run)


def _on_rank_0(work: Callable[[], None], world: World) -> None:
    """The others wait, and end without a word when it fails: rank 0 says why."""
    problem: MmkdError | None = None
    if world.first:
        try:
            work()
        except MmkdError as error:
            problem = error
    if world.agree(problem is not None):
        raise problem or SystemExit(2)
