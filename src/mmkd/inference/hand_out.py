"""Blocks of pictures in units that an executor hands out: some blocks in a row, embedded by a worker's own model."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from mmkd.errors import ModelError
from mmkd.executors.executor import Executor
from mmkd.executors.failures import raise_failed
from mmkd.executors.local import LocalExecutor, is_in_process
from mmkd.executors.plan import notes_of
from mmkd.executors.resident import resident
from mmkd.executors.unit import Outcome, Resources, Unit, gpus_of, unit_id
from mmkd.inference.blocks import Block, Task, write_blocks
from mmkd.inference.model import GPU, Model, absolute, open_model, split_form
from mmkd.inference.picture import Found

MOST_BLOCKS = 16  # of a unit; workers decode ahead from block to block, and anew in every unit
UNITS = 64  # at least, where there are so many blocks, so that workers end at the same time


@dataclass(frozen=True)
class Workers:
    """Those of an executor, each with a model of its own.

    model: its text, which means the same to every worker. threads: of each that decode and compute, 0 for what the
    machine or its scheduler gives. notes: of what they do, see `executors.plan`.
    """

    executor: Executor
    model: str
    device: str
    threads: int
    notes: Path

    def embed(self, task: Task, blocks: Sequence[Block], folder: Path) -> Iterator[None]:
        """None for each block that is done, as they are; raises one error for those that fail, when the others are
        done. Blocks go to the folder, on a file system that all workers have at the same path, as the source has to
        be."""
        task = replace(task, model=self.model)
        key = unit_id(task.model_digest, self.device, str(task.source.resolve()), task.options.model_dump(mode="json"))
        units = [self._unit(task, run, folder, key) for run in _in_rows(blocks)]
        has_gpu = GPU.exists() and split_form(self.model, "torch")[1] != "onnx"
        needs = Resources(cpus=self.threads or len(os.sched_getaffinity(0)), gpus=gpus_of(self.device, has_gpu))
        failed: list[Outcome] = []
        for outcome in self.executor.map(units, embed_unit, self.notes, needs):
            failed += [outcome] if outcome.problem else []
            yield from [] if outcome.problem else [None] * len(outcome.unit.payload.blocks)
        raise_failed(failed)

    def _unit(self, task: Task, blocks: Sequence[Block], folder: Path, key: str) -> Unit:
        work = Work(task, tuple(blocks), folder, self.device, self.threads, key)
        label = f"block {blocks[0].number + 1} to {blocks[-1].number + 1} of {task.source.name}"
        # none of them is there, and they are written in order: where the last one is, all are
        return Unit(unit_id([block.digest for block in blocks]), label, blocks[-1].file(folder), work, key)


def workers_of(executor: Executor | None, model: str, device: str, threads: int, out: Path) -> Workers | None:
    """None where this process does the work by itself. threads: 0 has the processors of this machine shared out where
    the workers are here. out: what is written in the end."""
    if executor is None or is_in_process(executor):
        return None
    if isinstance(executor, LocalExecutor) and not threads:
        threads = max(1, len(os.sched_getaffinity(0)) // (executor.workers or 1))
    return Workers(executor, absolute(model), device, threads, notes_of(out, "embed"))


@dataclass(frozen=True)
class Work:
    """A unit's payload. key: of what a worker keeps loaded for it."""

    task: Task
    blocks: tuple[Block, ...]
    folder: Path
    device: str
    threads: int
    key: str


def embed_unit(work: Work) -> None:
    """Write the files of the unit's blocks that are not there. Raises what `blocks.write_blocks` does, and ModelError
    where the model is another one than the driver has."""
    missing = [block for block in work.blocks if not block.file(work.folder).is_file()]
    if missing:
        worker = resident(work.key, lambda: _Worker(work))
        listed = worker.listing.since(missing[0].number)
        for _ in write_blocks(work.task, missing, work.folder, worker.model, worker.threads, listed):
            pass


class _Worker:
    """What a worker keeps: the model, and its place in the list of the source."""

    def __init__(self, work: Work) -> None:
        task = work.task
        threads = work.threads or own_threads()
        self.model: Model = open_model(str(task.model), work.device, threads=threads)
        if self.model.digest != task.model_digest:
            raise ModelError(
                f"{task.model}: has the digest {self.model.digest[:12]} here, {task.model_digest[:12]} where the "
                "command runs; give all machines the same files"
            )
        self.threads = ThreadPoolExecutor(threads)
        self.listing = Listing(task)
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(threads)


def own_threads() -> int:
    """As many as the scheduler has said in OMP_NUM_THREADS, at most as many as this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    own = len(os.sched_getaffinity(0))
    return min(int(said), own) if said.isdecimal() and int(said) else own


class Listing:
    """The blocks of a source, read on from where it was left: listing begins anew only for a block that lies before."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._rest: Iterator[tuple[Block, list[Found]]] = iter(())
        self._next: int | None = None

    def since(self, number: int) -> Iterator[tuple[Block, list[Found]]]:
        """The blocks from this number on."""
        if self._next is None or number < self._next:
            self._rest, self._next = self._task.blocks(), 0
        try:
            for block, found in self._rest:
                self._next = block.number + 1
                if block.number >= number:
                    yield block, found
        except Exception:
            self._next = None  # the list cannot be read on
            raise


def _in_rows(blocks: Sequence[Block]) -> list[Sequence[Block]]:
    """The blocks in their order, as many in a unit as leaves enough units for all workers."""
    size = min(MOST_BLOCKS, max(1, len(blocks) // UNITS))
    return [blocks[first : first + size] for first in range(0, len(blocks), size)]
