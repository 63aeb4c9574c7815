"""Stages at work: one, or all of a run, in one process or in those of torchrun."""

import time
from collections.abc import Callable

from mmkd.distributed import World, join_world
from mmkd.errors import ConfigError, MmkdError
from mmkd.folders.stage import status
from mmkd.pipeline.preflight import preflight
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES, is_read
from mmkd.progress import say


def work_all(run: Run) -> None:
    """Every stage that the recipe has work for, in order.

    Under torchrun all processes come here: they share the parallel stages, and wait while rank 0 does the others.
    """
    start = time.perf_counter()
    with join_world() as world:
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
            say(f"student: {run.out / 'export'}\nreport:  {run.out / 'report' / 'index.html'}")


def work_one(run: Run, name: str) -> None:
    """One stage. Raises ConfigError when a stage before it is not finished."""
    require(run, name)
    with join_world() as world:
        STAGES[name].work(run, world)


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
