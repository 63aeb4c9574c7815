"""Batches on the device before they are needed."""

import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from mmkd.training.batches import PairBatch


class Prefetcher:
    """Iterates over the batches with every tensor on the device.

    On CUDA the next batch is read and on its way, on a stream of its own, while the device still computes: kernels are
    only queued, so the host has time for it. waited: seconds in which the host waited for batches so far; on CUDA those
    in which the device went on computing are among them, so it is the most that training can have stood still.
    """

    def __init__(self, batches: Iterable[PairBatch], device: torch.device) -> None:
        self.device, self.waited = device, 0.0
        self._batches: Iterator[PairBatch] = iter(batches)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._next: PairBatch | None = None
        self._begun = False

    def __iter__(self) -> "Prefetcher":
        return self

    def __next__(self) -> PairBatch:
        batch = self._copied() if self._stream is None else self._ahead(self._stream)
        if batch is None:
            raise StopIteration
        return batch

    def _ahead(self, stream: torch.cuda.Stream) -> PairBatch | None:
        if not self._begun:
            self._begun, self._next = True, self._copied()
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(stream)
        batch = self._next
        if batch is not None:
            batch.map(lambda tensor: _used_on(tensor, now))
            self._next = self._copied()
        return batch

    def _copied(self) -> PairBatch | None:
        batch = self._read()
        if batch is None:
            return None
        with torch.cuda.stream(self._stream):
            return batch.map(lambda tensor: tensor.to(self.device, non_blocking=True))

    def _read(self) -> PairBatch | None:
        start = time.perf_counter()
        batch = next(self._batches, None)
        self.waited += time.perf_counter() - start
        return batch


def _used_on(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    tensor.record_stream(stream)  # its memory is not given away before this stream is done with it
    return tensor
