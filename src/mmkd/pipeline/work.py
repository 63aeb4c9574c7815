"""Stages at work: one, or all of a run, in one process or in those of torchrun."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmkd.distributed import World, join_world
from mmkd.errors import ConfigError, MmkdError, StaleError
from mmkd.executors.local import is_in_process
from mmkd.folders.stage import status
from mmkd.pipeline.beside import in_order_of_inputs
from mmkd.pipeline.preflight import preflight, show_standings, standings
from mmkd.pipeline.run import Run
from mmkd.pipeline.standing import consequences
from mmkd.pipeline.table import STAGES, StageSpec, is_read, needed_for
from mmkd.progress import say


def work_all(run: Run) -> None:
    """Every stage that the recipe has work for, in order; with an executor, extraction beside stage 1.

    Under torchrun all processes come here: they share the parallel stages, and wait while rank 0 does the others.
    """
    start = time.perf_counter()
    with join_world() as world, told_of_changes(run):
        _on_rank_0(lambda: preflight(run), world)

        def work(spec: StageSpec) -> None:
            begun = time.perf_counter()
            if spec.parallel:
                spec.work(run, world)
            else:
                _on_rank_0(lambda: spec.work(run), world)
            if world.first:
                say(f"[{time.perf_counter() - start:6.0f} s] {spec.name} took {time.perf_counter() - begun:.1f} s")

        if world.size == 1 and not is_in_process(run.executor):
            in_order_of_inputs(run, work)
        else:
            for spec in STAGES.values():
                if spec.is_used(run):
                    work(spec)
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
    """Raise ConfigError when what the stage reads, or what that was made from, is not finished.

    Raises DataError when what it reads is damaged. Other stages before it need not be finished: stage 1 reads no
    features.
    """
    for spec in needed_for(run, name)[:-1]:
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
