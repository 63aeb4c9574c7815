"""Pictures embedded block by block: what is finished survives a kill, and a block is known by what it was made of.

A block is BLOCK pictures, or records that cannot be read, one after the other in their source. Its file is named by a
digest of the model, the options and the names and stamps of its pictures. N pictures, D dimensions.
"""

import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mmkd.curation.records.record import Rejected
from mmkd.distributed import ALONE, World
from mmkd.errors import DataError, ModelError
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.folders.digests import json_digest
from mmkd.images.decode import without_warnings
from mmkd.inference.model import Model, open_model
from mmkd.inference.picture import Found, Picture, SourceOptions
from mmkd.inference.pictures import pictures
from mmkd.processes import worker_pool
from mmkd.progress import say, track
from mmkd.reasons import BadRecordError, Reason

BLOCK = 64
BATCH = 32  # part of what decides the last bits of a vector
FACTS = ("id", "path", "caption", "modality", "group", "series")
LOOK_EVERY_S = 0.2
REJECTED, NOTED = b"rejected", b"noted"  # keys in the metadata of a block's file


@dataclass(frozen=True)
class Block:
    """digest: of everything that decides its rows. pictures: without those that cannot be read."""

    number: int
    digest: str
    pictures: int

    def file(self, folder: Path) -> Path:
        return folder / f"{self.digest[:40]}.arrow"


@dataclass(frozen=True)
class Task:
    """What is embedded. model: a text, which every process opens, or a model that is open already."""

    source: Path
    options: SourceOptions
    model: str | Model
    model_digest: str
    batch: int = BATCH
    block: int = field(default_factory=lambda: BLOCK)

    def blocks(self) -> Iterator[tuple[Block, list[Found]]]:
        """All blocks in the order of the source; nothing is decoded."""
        facts = [self.model_digest, self.batch, self.block, self.options.model_dump(mode="json")]
        found, number = pictures(self.source, self.options), 0
        while chunk := list(islice(found, self.block)):
            made_of = [_made_of(one) for one in chunk]
            count = sum(isinstance(one, Picture) for one in chunk)
            yield Block(number, json_digest([number, facts, made_of]), count), chunk
            number += 1


def _made_of(found: Found) -> list[Any]:
    if isinstance(found, Rejected):
        return list(astuple(found))
    return [found.stamp, *(getattr(found, name) for name in FACTS), found.slice]


def plan_of(task: Task) -> list[Block]:
    """The blocks of a source. Raises DataError where it holds no picture at all."""
    rejected: list[Rejected] = []
    plan = []
    for block, found in task.blocks():
        plan.append(block)
        rejected += [one for one in found if isinstance(one, Rejected)]
    if not any(block.pictures for block in plan):
        told = [one.detail if one.where in one.detail else f"{one.where}: {one.detail}" for one in rejected[:1]]
        first = "".join(f"; {len(rejected):,} rejected, the first {one}" for one in told)
        raise DataError(f"{task.source}: no picture in it{first}")
    return plan


Prepared = Sequence["Future[np.ndarray | Rejected]"]
Listed = Iterator[tuple[Block, list[Found]]]


class Hands(Protocol):
    """Who embeds blocks in place of this process."""

    def embed(self, task: Task, blocks: Sequence[Block], folder: Path) -> Iterator[None]:
        """None for each block whose file has come to be there."""
        ...


def embed_blocks(
    task: Task,
    plan: Sequence[Block],
    folder: Path,
    devices: Sequence[str],
    workers: int,
    world: World = ALONE,
    hands: Hands | None = None,
) -> int:
    """Write the files of all blocks that are not there; returns how many pictures were there already.

    devices: a process for each. workers: threads of each process that decode. world: processes of torchrun, of which
    each takes its share. hands: do it in place of all these. Raises DataError where the source changes meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if world.first:
        _drop_stale(plan, folder)
    world.wait()
    missing = [block for block in plan if not block.file(folder).is_file()]
    done = sum(block.pictures for block in plan) - sum(block.pictures for block in missing)
    own = world.share(missing)
    total = done + sum(block.pictures for block in own)
    made = _in_processes if len(devices) > 1 else _here
    if own or hands:
        ended = hands.embed(task, own, folder) if hands else made(task, own, folder, devices, workers)
        for _ in track(ended, "embed", total, "pictures", done, weight=task.block):
            pass
    world.wait()
    return done


def tables_of(plan: Sequence[Block], folder: Path) -> Iterator[pa.Table]:
    """The rows of finished blocks, in order."""
    return (read_shard(block.file(folder)) for block in plan)


def rejected_in(table: pa.Table) -> list[Rejected]:
    """What a block has no row for."""
    found = json.loads(table.schema.metadata[REJECTED])
    return [Rejected(source, where, name, Reason(reason), detail) for source, where, name, reason, detail in found]


def noted_in(table: pa.Table) -> Counter[str]:
    """What is counted of files besides."""
    return Counter(json.loads(table.schema.metadata[NOTED]))


def schema_of(dim: int) -> pa.Schema:
    """Of the vectors of pictures and what is known of them."""
    texts = [(name, pa.string()) for name in FACTS]
    return pa.schema([*texts[:2], ("vector", pa.list_(pa.float32(), dim)), *texts[2:], ("slice", pa.int32())])


def _drop_stale(plan: Sequence[Block], folder: Path) -> None:
    """Blocks of an earlier run that are of other pictures, or of another model."""
    wanted = {block.file(folder).name for block in plan}
    stale = [path for path in folder.glob("*.arrow") if path.name not in wanted]
    for path in stale:
        path.unlink()
    if stale:
        say(f"embed: {len(stale)} blocks of an earlier run do not fit: pictures, options or the model have changed")


def _here(task: Task, own: Sequence[Block], folder: Path, devices: Sequence[str], workers: int) -> Iterator[None]:
    model = open_model(task.model, devices[0]) if isinstance(task.model, str) else task.model
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from write_blocks(task, own, folder, model, pool, task.blocks())


def write_blocks(
    task: Task, own: Sequence[Block], folder: Path, model: Model, pool: ThreadPoolExecutor, listed: Listed
) -> Iterator[None]:
    """Write the files of these blocks, in order; None after each. listed: has all of them, in order.

    Raises DataError where the source has changed, ModelError for a vector that is not finite.
    """
    with without_warnings():  # of DICOM files, which quote their headers
        for block, found, prepared in _prepared(task, {block.number: block for block in own}, model, pool, listed):
            _write(block, found, prepared, model, task.batch, folder)
            yield


def _prepared(
    task: Task, wanted: Mapping[int, Block], model: Model, pool: ThreadPoolExecutor, listed: Listed
) -> Iterator[tuple[Block, list[Found], Prepared]]:
    """The wanted blocks, while the next one is decoded."""
    ahead: deque[tuple[Block, list[Found], Prepared]] = deque()
    left = len(wanted)
    for block, found in listed:
        if block.number not in wanted:
            continue
        if block != wanted[block.number]:
            raise _changed(task)
        ahead.append((block, found, [pool.submit(_pixels, model, one) for one in found]))
        left -= 1
        if len(ahead) > 1:
            yield ahead.popleft()
        if not left:
            break
    yield from ahead
    if left:
        raise _changed(task)


def _changed(task: Task) -> DataError:
    return DataError(f"{task.source}: changed while it was read; run the same command again, what is finished is kept")


def _pixels(model: Model, found: Found) -> np.ndarray | Rejected:
    if isinstance(found, Rejected):
        return found
    try:
        return model.prepare(found.read())
    except BadRecordError as bad:
        return Rejected("", found.path, found.id, bad.reason, bad.detail)


def _write(
    block: Block, found: Sequence[Found], prepared: Prepared, model: Model, batch: int, folder: Path
) -> None:  # fmt: skip
    pixels = [one.result() for one in prepared]
    rejected = [one for one in pixels if isinstance(one, Rejected)]
    shown = [(one, seen) for one, seen in zip(found, pixels, strict=True) if not isinstance(seen, Rejected)]
    rows = [one for one, _ in shown if isinstance(one, Picture)]
    vectors = [
        model.encode_prepared(np.stack([seen for _, seen in shown[first : first + batch]]))
        for first in range(0, len(shown), batch)
    ]
    vector_ND = np.concatenate(vectors) if vectors else np.empty((0, model.dim), np.float32)
    _check_finite(vector_ND, rows, model)
    told = {
        REJECTED: json.dumps([[str(value) for value in astuple(one)] for one in rejected]),
        NOTED: json.dumps(Counter(what for one in rows for what in one.noted)),
    }
    schema = schema_of(model.dim).with_metadata(told)
    columns = {name: pa.array([getattr(one, name) for one in rows], pa.string()) for name in FACTS}
    columns["slice"] = pa.array([one.slice for one in rows], pa.int32())
    flat = pa.array(np.ascontiguousarray(vector_ND, np.float32).reshape(-1))
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, model.dim)
    write_shard(block.file(folder), schema, [pa.table([columns[name] for name in schema.names], schema=schema)])


def _check_finite(vector_ND: np.ndarray, rows: Sequence[Picture], model: Model) -> None:
    bad = np.flatnonzero(~np.isfinite(vector_ND).all(axis=1))
    if len(bad):
        raise ModelError(f"{model.name}: the vector of {rows[bad[0]].path} is not finite; check the model's weights")


def _in_processes(
    task: Task, own: Sequence[Block], folder: Path, devices: Sequence[str], workers: int
) -> Iterator[None]:
    """Every process reads the list of the source and embeds its share of the blocks."""
    shares = [own[place :: len(devices)] for place in range(len(devices))]
    with worker_pool(len(devices)) as pool:
        running = [
            pool.submit(_embed_share, task, share, folder, device, workers, len(devices))
            for share, device in zip(shares, devices, strict=True)
        ]
        waiting = list(own)
        while waiting:
            time.sleep(LOOK_EVERY_S)
            finished = [block for block in waiting if block.file(folder).is_file()]
            waiting = [block for block in waiting if block not in finished]
            yield from (None for _ in finished)
            for future in running:
                if future.done():
                    future.result()


def _embed_share(
    task: Task, share: Sequence[Block], folder: Path, device: str, workers: int, processes: int
) -> None:  # fmt: skip
    import torch

    if device == "cpu":
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    for _ in _here(task, share, folder, [device], workers):
        pass


def remove_blocks(folder: Path) -> None:
    """What is no longer needed."""
    for path in folder.glob("*"):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()
