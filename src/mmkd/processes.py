"""Worker processes that compute and write files, and that never outlive the run that started them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait

from mmkd.errors import DataError


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes of one Arrow thread each; what is not yet begun is cancelled at the end.

    Raises DataError when a worker dies, which is most likely the system's answer to a lack of memory.
    """
    context = multiprocessing.get_context("spawn")  # forking a process with threads (Arrow's, torch's) may hang
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process ended abruptly, most likely for lack of memory; what is finished is kept: "
            "run the same command again, with fewer [machine] workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    import pyarrow as pa

    pa.set_cpu_count(1)  # the processes are the parallelism
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Workers of a pool wait for work for ever when their parent is killed, and one at work would write on."""
    if (parent := multiprocessing.parent_process()) is not None:
        wait([parent.sentinel])
        os._exit(1)
