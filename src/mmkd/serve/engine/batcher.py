"""Pictures of many requests go through a model together, in one thread.

A batch is what waits when the model is free. It waits for more only while pictures are being decoded, and a few
milliseconds at most: a picture that comes alone is computed at once. B pictures of a batch, D dimensions.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmkd.serve.engine.limits import BUSY, RETRY_AFTER_S, Limits, RequestError
from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class _Job:
    """A prepared picture, or something else to do in the model's thread."""

    work: np.ndarray | Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)

    @property
    def is_picture(self) -> bool:
        return isinstance(self.work, np.ndarray)


class Batcher:
    """The queue of one model and the thread that empties it. sizes: how many batches of each size were computed."""

    def __init__(self, encode: Callable[[np.ndarray], Array], limits: Limits) -> None:
        self.sizes: Counter[int] = Counter()
        self._encode, self._limits = encode, limits
        self._jobs: deque[_Job] = deque()
        self._coming = 0
        self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pictures that wait or are being decoded."""
        return self._coming + len(self._jobs)

    @contextmanager
    def room_for(self, count: int) -> Iterator["Places"]:
        """Places for pictures that are about to be decoded. Raises RequestError when the queue is full."""
        with self._changed:
            if (waiting := self.waiting) + count > self._limits.queue:
                found = f"{waiting} pictures wait and {count} came"
                raise RequestError(BUSY, found, f"at most {self._limits.queue}", "try again later", RETRY_AFTER_S)
            self._coming += count
        places = Places(self, count)
        try:
            yield places
        finally:
            self._give_back(places.left)

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Anything else that the model computes, in its turn."""
        return self._put(_Job(work), 0)

    def close(self) -> None:
        """Computes what waits, and ends the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _give_back(self, count: int) -> None:
        with self._changed:
            self._coming -= count
            self._changed.notify_all()

    def _put(self, job: _Job, places: int) -> Future[Any]:
        with self._changed:
            if self._is_closed:
                raise RequestError(BUSY, "the service is stopping", "a running one", "try again later", RETRY_AFTER_S)
            self._coming -= places
            self._jobs.append(job)
            self._changed.notify_all()
        return job.future

    def _work(self) -> None:
        while batch := self._next():
            wanted = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if wanted:
                _fulfil(wanted, self._results)

    def _next(self) -> list[_Job]:
        """What to compute together: the pictures in front, or one other job; empty when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            if self._jobs and self._jobs[0].is_picture:
                self._changed.wait_for(self._is_full, self._limits.wait_ms / 1000)
            batch: list[_Job] = []
            while self._jobs and len(batch) < self._limits.batch:
                if batch and not (self._jobs[0].is_picture and batch[0].is_picture):
                    break
                batch.append(self._jobs.popleft())
            return batch

    def _is_full(self) -> bool:
        return len(self._jobs) >= self._limits.batch or self._coming == 0 or self._is_closed

    def _results(self, jobs: list[_Job]) -> list[Any]:
        first = jobs[0].work
        if not isinstance(first, np.ndarray):
            return [first()]
        self.sizes[len(jobs)] += 1
        return list(self._encode(np.stack([job.work for job in jobs])))  # type: ignore[misc]


@dataclass
class Places:
    """Room in a queue. left: places of pictures that are not there yet."""

    batcher: Batcher
    left: int

    def submit(self, pixel_CHW: np.ndarray) -> Future[Any]:
        """Its vector (D,)."""
        self.left -= 1
        return self.batcher._put(_Job(pixel_CHW), 1)


def _fulfil(jobs: list[_Job], results: Callable[[list[_Job]], list[Any]]) -> None:
    try:
        values = results(jobs)
    except BaseException as error:  # whoever waits for it gets it; the thread goes on
        for job in jobs:
            job.future.set_exception(error)
        return
    for job, value in zip(jobs, values, strict=True):
        job.future.set_result(value)
