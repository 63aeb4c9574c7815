"""The pairs as training reads them, on the device before they are needed: images, token ids, teacher features.

Letters: N training pairs, B pairs of this process in a step, L tokens (the student's context), C x H x W pixels.
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError
from mmkd.images.decode import decode
from mmkd.images.transform import from_compose
from mmkd.processes import LOADERS
from mmkd.progress import say
from mmkd.reasons import BadRecordError
from mmkd.settings import Machine
from mmkd.teachers.files.open_clip_folder import OpenClipModel
from mmkd.training.data.caption_bank import CaptionBank
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import Captions
from mmkd.training.data.view import TeacherBatch
from mmkd.training.targets.teacher_targets import TeacherTargets

DECODE_AT_ONCE = 256


@dataclass(frozen=True)
class PairBatch:
    """One step's pairs. row_B: corpus rows. image_BCHW: uint8. length_B: tokens of each caption, known to the host.

    caption_B, image_code_B: equal numbers mean equal captions, equal images. caption_weight_B: 0..1. captioned_B: pairs
    whose caption is their own, bool; None where all are such.
    """

    row_B: np.ndarray
    image_BCHW: Tensor
    token_BL: Tensor
    length_B: np.ndarray
    caption_B: Tensor
    image_code_B: Tensor
    caption_weight_B: Tensor
    teachers: TeacherBatch | None
    captioned_B: Tensor | None = None

    def pin_memory(self) -> "PairBatch":
        """Called by DataLoader: page-locked memory travels to a GPU while it computes."""
        return self.map(Tensor.pin_memory)

    def map(self, change: Callable[[Tensor], Tensor]) -> "PairBatch":
        """The same batch with every tensor changed; what the host knows stays."""
        tensors: dict[str, Any] = {n: change(value) for n, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors, teachers=None if self.teachers is None else self.teachers.map(change))


class PairImages:
    """uint8 images (C, H, W) as the student's own transform crops them; kept decoded where they all fit."""

    def __init__(self, corpus: Corpus, rows: np.ndarray, model: OpenClipModel, cache_mb: int) -> None:
        self.corpus, self.rows = corpus, rows
        self._pixels = from_compose(model.transform).pixels
        first = self._decode(rows[:1])
        self._cache: Tensor | None = None
        if first.numel() * len(rows) <= cache_mb * 2**20:
            self._cache = torch.empty((len(rows), *first.shape[1:]), dtype=torch.uint8)
            for start in range(0, len(rows), DECODE_AT_ONCE):
                part = slice(start, start + DECODE_AT_ONCE)
                self._cache[part] = self._decode(rows[part])

    @property
    def cached(self) -> bool:
        return self._cache is not None

    def at(self, position_B: np.ndarray) -> Tensor:
        """Images at positions of the training split (B, C, H, W)."""
        if self._cache is not None:
            return self._cache[torch.from_numpy(position_B)]
        return self._decode(self.rows[position_B])

    def _decode(self, rows: np.ndarray) -> Tensor:
        images = []
        for row, data in zip(rows, self.corpus.images(rows), strict=True):
            try:
                # no draft mode: it halves the time of JPEGs of twice the size and moves pixels by 3 grey levels
                images.append(self._pixels(decode(data)))
            except BadRecordError as bad:
                raise DataError(f"{self.corpus.folder}: image of row {row} is not readable ({bad.detail})") from bad
        return torch.stack(images)


class StepBatches(Dataset[PairBatch]):
    """Item `step` is this process's part of that global step's batch, so a loader may start anywhere.

    rows: corpus rows of the training pairs, which `order` permutes. bank: captions for pictures that have none. Raises
    ConfigError when the processes cannot have equal parts.
    """

    def __init__(
        self,
        rows: np.ndarray,
        images: PairImages,
        captions: Captions,
        teachers: TeacherTargets | None,
        order: Order,
        world: World = ALONE,
        bank: CaptionBank | None = None,
    ) -> None:
        if order.batch_size % world.size:
            raise ConfigError(
                f"batch_size {order.batch_size} cannot be shared equally by {world.size} processes; "
                f"set it to a multiple of {world.size}"
            )
        self.world, self.bank = world, bank
        self.rows, self.images, self.captions, self.teachers, self.order = rows, images, captions, teachers, order
        share = order.batch_size // world.size
        self._own = slice(world.rank * share, (world.rank + 1) * share)

    def __getitem__(self, step: int) -> PairBatch:
        position_S = self.order.at(step)
        told_S = position_S if self.bank is None else self.bank.at(step, position_S)  # whose captions they have
        position_B, told_B = position_S[self._own], told_S[self._own]
        row_B, caption_B = self.rows[position_B], np.asarray(self.captions.code_N[told_B])
        text_row_B = None if self.bank is None else self.rows[told_B]
        token_BL, length_B = self.captions.at(caption_B)
        caption_weight_B = np.ones(len(row_B)) if self.teachers is None else self.teachers.caption_weight_N[position_B]
        return PairBatch(
            row_B,
            self.images.at(position_B),
            token_BL,
            length_B,
            torch.from_numpy(caption_B),
            torch.from_numpy(np.asarray(self.captions.image_code_N[position_B])),
            torch.from_numpy(caption_weight_B).float(),
            self.teachers.at(position_B, row_B, text_row_B) if self.teachers else None,
            None if self.bank is None else torch.from_numpy(self.bank.captioned_N[position_B]),
        )

    def ids(self, step: int) -> list[str]:
        """The ids of all pairs of a global step, those of other processes too."""
        names: list[str] = self.images.corpus.take(self.rows[self.order.at(step)]).column("id").to_pylist()
        return names


def loader(batches: StepBatches, first: int, last: int, machine: Machine) -> DataLoader[PairBatch]:
    """Batches of the steps first..last-1, in order; worker processes only where images are decoded on the way."""
    workers = 0 if batches.images.cached else machine.loaders
    if not batches.images.cached and batches.world.first:
        say(f"  the decoded images exceed decoded_cache_mb, so {workers} processes decode them at each step")
    pinned = torch.cuda.is_available() and machine.device != "cpu"
    return DataLoader(
        batches,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        multiprocessing_context=LOADERS if workers else None,
        pin_memory=pinned,
        worker_init_fn=_leave_sigterm,
    )


def _leave_sigterm(_: int) -> None:
    """A scheduler's SIGTERM reaches all processes of a group; the main one saves, for which it needs its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


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
