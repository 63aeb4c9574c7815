"""Stages that start when their own inputs are there: what an executor hands out runs beside what this process does."""

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from mmkd.errors import MmkdError, TrainingError
from mmkd.output import NoTerminal, calm_libraries
from mmkd.pipeline.run import Run
from mmkd.pipeline.table import STAGES, StageSpec
from mmkd.processes import end_with_parent, start_deaf
from mmkd.progress import say


def in_order_of_inputs(run: Run, work: Callable[[StageSpec], None]) -> None:
    """Every stage that the recipe has work for, when the stages that publish its inputs are finished.

    work: does a stage in this process, one at a time and in the order of the table. A stage of `handed_out` runs in a
    process of its own beside it, one at a time, while there is another that can be done here. Raises what a stage
    raises; one that runs beside is ended then.
    """
    waiting = [spec for spec in STAGES.values() if spec.is_used(run)]
    with _at_most_one(run) as beside:
        while waiting or beside.spec:
            if beside.spec and beside.is_over():
                beside.finish()
            begun = [*waiting, *([beside.spec] if beside.spec else [])]
            ready = [spec for spec in waiting if not _lacks(run, spec, begun)]
            here = next((spec for spec in ready if not spec.handed_out), None)
            out = next((spec for spec in ready if spec.handed_out), None)
            if out and here and not beside.spec:
                waiting.remove(out)
                beside.start(out)
            elif here or (out and not beside.spec):
                spec = here or ready[0]
                waiting.remove(spec)
                work(spec)
            else:
                beside.finish()


def _lacks(run: Run, spec: StageSpec, begun: Sequence[StageSpec]) -> bool:
    """Whether one of these, other than itself, still has to publish what the stage reads."""
    unfinished = {folder for other in begun if other is not spec for folder in other.folder_names(run)}
    return bool(unfinished & set(spec.input_names(run)))


class _Beside:
    """The stage that runs in another process. spec: None for none."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.spec: StageSpec | None = None
        self._process: BaseProcess | None = None
        self._answers: Connection | None = None
        self._begun = 0.0

    def start(self, spec: StageSpec) -> None:
        context = multiprocessing.get_context("spawn")
        self._answers, answer = context.Pipe(duplex=False)
        self.spec, self._begun = spec, time.perf_counter()
        self._process = context.Process(target=_work, args=(self._run, spec.name, answer), name=spec.name)
        start_deaf(self._process)
        answer.close()

    def is_over(self) -> bool:
        return self._process is not None and not self._process.is_alive()

    def finish(self) -> None:
        """Wait for it, and raise what it raised."""
        if self._process is None or self._answers is None or self.spec is None:
            return
        try:
            problem: MmkdError | None = self._answers.recv()
        except EOFError:
            problem = TrainingError(
                f"the stage {self.spec.name} ended without a word, most likely for lack of memory; what is finished is "
                "kept: run the same command again, with fewer workers"
            )
        self._process.join()
        name, self.spec, self._process = self.spec.name, None, None
        if problem:
            raise problem
        say(f"{name} took {time.perf_counter() - self._begun:.1f} s, beside others")

    def end(self) -> None:
        """Its own workers end with it."""
        if self._process is not None:
            self._process.kill()
            self._process.join()


@contextmanager
def _at_most_one(run: Run) -> Iterator[_Beside]:
    beside = _Beside(run)
    try:
        yield beside
    finally:
        beside.end()


def _work(run: Run, name: str, answer: Connection) -> None:
    """The other process. A defect has its traceback on standard error, and no answer."""
    calm_libraries()
    end_with_parent()
    problem: MmkdError | None = None
    try:
        with redirect_stdout(NoTerminal(sys.stdout)):  # two processes cannot draw bars on one
            STAGES[name].work(run)
    except MmkdError as error:
        problem = TrainingError(f"{name}: {error}")
    answer.send(problem)
