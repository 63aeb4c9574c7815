"""Worker processes that compute and write files, and that never outlive the run that started them."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized

from mmkd.errors import DataError
from mmkd.output import calm_libraries
from mmkd.progress import say

LOADERS = "fork"
"""How processes of torch's DataLoader start, said at each: those of a worker would inherit `spawn`, which has to pickle
tokenizers and memory maps."""
PATIENCE_S = 600  # after SIGTERM, for the step and the checkpoint; a scheduler kills earlier if it wants to


class Tally:
    """A count to which this process and the workers of its pools add. Reading it waits for nobody, dead or alive."""

    def __init__(self) -> None:
        self._own = 0
        self._shared: Synchronized[int] | None = None

    def add(self, number: int) -> None:
        if self._shared is None:
            self._own += number
            return
        with self._shared.get_lock():
            self._shared.value += number

    def total(self) -> int:
        # the number itself, without its lock: a worker may have been killed while it held that
        return self._own + (0 if self._shared is None else self._shared.get_obj().value)

    def share(self, context: BaseContext) -> "Synchronized[int]":
        """What the workers of a pool have to `join`; every pool has its own, as a worker may die holding its lock."""
        self._own, self._shared = self.total(), context.Value("q", 0)
        return self._shared

    def join(self, shared: "Synchronized[int]") -> None:
        self._shared = shared


PROCESSED = Tally()
"""Things met on the way to what a run makes, for its progress."""


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes of one Arrow thread each; what is not yet begun is cancelled at the end.

    Raises DataError when a worker dies, which is most likely the system's answer to a lack of memory.
    """
    context = multiprocessing.get_context("spawn")  # forking a process with threads (Arrow's, torch's) may hang
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=begin_worker, initargs=(PROCESSED.share(context),)
    )
    _start(pool)
    try:
        yield pool
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():  # whose files appear whole or not at all
            worker.kill()
        raise
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process ended abruptly, most likely for lack of memory; what is finished is kept: "
            "run the same command again, with fewer [machine] workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(pool: ProcessPoolExecutor) -> None:
    """Start the processes, which inherit that Ctrl-C does not reach them: the process that waits for them ends them."""
    with _deaf():
        pool.submit(int)


def start_deaf(process: BaseProcess) -> None:
    """Start a process that Ctrl-C does not reach; who starts it has to end it."""
    with _deaf():
        process.start()


@contextmanager
def _deaf() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ended_softly() -> Iterator[None]:
    """While the block runs, SIGTERM ends the processes that this one has started first, with SIGTERM: a training saves.

    Then SystemExit is raised here, with code 0. Outside the main thread, where Python allows no handler, nothing is
    caught.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped, until = True, time.monotonic() + PATIENCE_S
        children = multiprocessing.active_children()
        for child in children:
            child.terminate()
        for child in children:
            child.join(max(0.0, until - time.monotonic()))
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if stopped:
            say("stopped by SIGTERM; run the same command again to go on")


def begin_worker(seen: "Synchronized[int]") -> None:
    """What a worker process does first. It ends when the process that started it does. seen: of `PROCESSED.share`."""
    import pyarrow as pa

    calm_libraries()
    PROCESSED.join(seen)
    pa.set_cpu_count(1)  # the processes are the parallelism
    end_with_parent()


def end_with_parent() -> None:
    """From now on, this process ends when the one that started it does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Workers of a pool wait for work for ever when their parent is killed, and one at work would write on."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
