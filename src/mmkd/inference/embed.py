"""Pictures of a source as a file of vectors: Parquet, or NumPy with a table beside it."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.curation.records.record import Rejected
from mmkd.distributed import World, join_world
from mmkd.errors import ConfigError
from mmkd.executors.executor import Executor
from mmkd.folders.atomic import atomic_file, remove_drafts, write_json
from mmkd.folders.digests import json_digest
from mmkd.folders.locks import sole_owner
from mmkd.inference.blocks import (
    BATCH,
    Block,
    Task,
    embed_blocks,
    noted_in,
    plan_of,
    rejected_in,
    remove_blocks,
    schema_of,
    tables_of,
)
from mmkd.inference.hand_out import workers_of
from mmkd.inference.model import Model, open_model
from mmkd.inference.pictures import DEFAULTS, SourceOptions
from mmkd.progress import say
from mmkd.statistics.metrics import Array
from mmkd.tables.spreadsheet import harmless

SUFFIXES = (".parquet", ".npy")
GROUP_ROWS = 8192  # of a row group of Parquet
MADE_FROM = b"mmkd"  # key in the metadata of the Parquet file: model, digest, dim, made_from as JSON
COLUMNS = ("where", "id", "reason", "detail")
BESIDE = (".rejected.csv", ".json", ".html", ".ids.csv")  # endings of what is written beside the file of `--out`


@dataclass(frozen=True)
class Embedded:
    """embedded, rejected (reason -> count): of the source. noted: what is counted of files besides. reused: pictures
    that an earlier run had embedded. rejects: the file that lists what was rejected, None where nothing was."""

    out: Path
    embedded: int
    rejected: Counter[str]
    noted: Counter[str]
    reused: int
    rejects: Path | None

    def __str__(self) -> str:
        return f"{self.out}: {self.told}{self.listed}"

    @property
    def told(self) -> str:
        read = self.embedded + self.rejected.total()
        told = [f"{read:,} read", f"{self.embedded:,} embedded", f"{self.rejected.total():,} rejected"]
        told += [f"{count:,} of them {reason}" for reason, count in self.rejected.most_common()]
        told += [f"{count:,} with {what}" for what, count in sorted(self.noted.items())]
        return ", ".join(told)

    @property
    def listed(self) -> str:
        return f"; what was rejected stands in {self.rejects}" if self.rejects else ""


def embed(
    source: Path,
    model: str | Model,
    out: Path,
    options: SourceOptions = DEFAULTS,
    devices: Sequence[str] = ("auto",),
    workers: int = 0,
    batch: int = BATCH,
    executor: Executor | None = None,
) -> Embedded:
    """Write the vectors of all pictures of the source to `out`, a `.parquet` or `.npy` file.

    A run that was killed goes on with the same call. devices: a process for each; under torchrun each process takes its
    own. workers: threads of a process that decode, 0 for all processors. executor: has workers embed, see `hand_out`.
    Raises ConfigError, DataError, ModelError.
    """
    check_out(source, out)
    if (len(devices) > 1 or executor) and not isinstance(model, str):
        raise ConfigError("several processes need the name or folder of a model, which every process opens itself")
    if len(devices) > 1 and executor:
        raise ConfigError(
            f"--devices {','.join(devices)} starts a process for each, and --executor workers; leave out one of the two"
        )
    hands = workers_of(executor, model, devices[0], workers, out) if isinstance(model, str) else None
    workers = workers or len(os.sched_getaffinity(0))
    parts = out.with_name(f".{out.name}.parts")
    with join_world() as world:
        devices = devices_of(devices, world)
        opened = open_model(model, devices[0]) if isinstance(model, str) else model
        task = Task(source, options, opened if len(devices) == 1 else model, opened.digest, batch)
        if not world.first:
            embed_blocks(task, world.agree([]), parts, devices, workers, world)
            return Embedded(out, 0, Counter(), Counter(), 0, None)
        with sole_owner(out):
            remove_drafts(out, *map(out.with_suffix, BESIDE))
            plan = plan_of(task)
            facts = {
                "model": opened.name,
                "digest": opened.digest,
                "dim": opened.dim,
                "made_from": json_digest([block.digest for block in plan]),
            }
            if (finished := _finished(out, facts)) is not None:
                world.agree([])
                embed_blocks(task, [], parts, devices, workers, world)
                return finished
            reused = embed_blocks(task, world.agree(plan), parts, devices, workers, world, hands)
            found = _written(out, plan, parts, facts)
            remove_blocks(parts)
    return replace(found, reused=reused)


def devices_of(devices: Sequence[str], world: World) -> list[str]:
    """Of this process: under torchrun its own GPU where GPUs are meant. Raises ConfigError for several of each."""
    if world.size == 1:
        return list(devices)
    if len(devices) > 1:
        raise ConfigError(f"torchrun has started {world.size} processes; leave out --devices {','.join(devices)}")
    if devices[0] in ("auto", "cuda") and _has_gpu():
        return [f"cuda:{world.local_rank}"]
    return list(devices)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def check_out(
    source: Path, out: Path, suffixes: Sequence[str] = SUFFIXES, table: Path | None = None, option: str = "--out"
) -> None:
    """Raises ConfigError for a file that cannot be written, that would be read as a picture the next time, or that
    would replace the source, or a table that is read besides."""
    if out.suffix.lower() not in suffixes:
        archive = "; for an archive to search in: mmkd index SOURCE --out ARCHIVE" if suffixes == SUFFIXES else ""
        raise ConfigError(f"{option} {out}: expected a name that ends in {' or '.join(suffixes)}{archive}")
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(
            f"{option} {out} lies in {source}, where it would be read the next time; choose another place"
        )
    beside = BESIDE[:1] if suffixes == SUFFIXES and out.suffix.lower() == ".parquet" else BESIDE
    written = [path.resolve() for path in (out, *map(out.with_suffix, beside if option == "--out" else ()))]
    if lost := [path for path in (source, table) if path is not None and path.resolve() in written]:
        raise ConfigError(f"{option} {out} would replace {lost[0]}, which is read here; choose another name")


def _finished(out: Path, facts: Mapping[str, Any]) -> Embedded | None:
    """What an earlier run wrote of the same pictures with the same model; None where it did not."""
    try:
        if out.suffix.lower() == ".npy":
            known, count = json.loads(out.with_suffix(".json").read_text()), len(np.load(out, mmap_mode="r"))
        else:
            meta = pq.read_metadata(out)
            known, count = json.loads((meta.metadata or {}).get(MADE_FROM, b"null")), meta.num_rows
    except (OSError, ValueError):
        return None
    if known != dict(facts):
        return None
    path = out.with_suffix(".rejected.csv")
    reasons: Counter[str] = Counter()
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            reasons.update(row["reason"] for row in csv.DictReader(stream))
    say(f"{out}: is made of these pictures already")
    return Embedded(out, count, reasons, Counter(), count + reasons.total(), path if reasons else None)


def _written(out: Path, plan: Sequence[Block], parts: Path, facts: Mapping[str, Any]) -> Embedded:
    rejected: list[Rejected] = []
    noted: Counter[str] = Counter()
    count = 0

    def rows() -> Iterator[pa.Table]:
        nonlocal count
        for table in tables_of(plan, parts):
            rejected.extend(rejected_in(table))
            noted.update(noted_in(table))
            count += len(table)
            yield table.replace_schema_metadata(None)

    write = write_parquet if out.suffix.lower() == ".parquet" else write_npy
    write(out, rows(), facts)
    reasons = Counter(str(one.reason) for one in rejected)
    return Embedded(out, count, reasons, noted, 0, write_rejects(out, rejected))


def write_parquet(out: Path, tables: Iterable[pa.Table], facts: Mapping[str, Any]) -> None:
    """facts: in the metadata of the schema, under MADE_FROM."""
    schema = schema_of(facts["dim"]).with_metadata({MADE_FROM: json.dumps(dict(facts))})
    texts = [name for name in schema.names if name != "vector"]
    with (
        atomic_file(out) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=texts) as writer,
    ):
        for table in _grouped(tables):
            writer.write_table(table.cast(schema).combine_chunks(), row_group_size=GROUP_ROWS)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Some thousands of rows at a time."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(map(len, waiting)) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def write_npy(out: Path, tables: Iterable[pa.Table], facts: Mapping[str, Any]) -> None:
    """float32 (N, D); beside it `.ids.csv`, a row for each of the vectors, and `.json` with the facts."""
    count = 0
    out.with_suffix(".json").unlink(missing_ok=True)  # a kill between the files leaves no facts of another model
    with atomic_file(out) as stream, atomic_file(out.with_suffix(".ids.csv")) as ids:
        text = io.TextIOWrapper(ids, "utf-8", newline="", write_through=True)
        _npy_header(stream, count, facts["dim"])
        lines = csv.writer(text)
        names = [name for name in schema_of(facts["dim"]).names if name != "vector"]
        lines.writerow(names)
        for table in tables:
            stream.write(vectors_in(table).tobytes())
            lines.writerows(
                map(harmless, row) for row in zip(*(table[name].to_pylist() for name in names), strict=True)
            )
            count += len(table)
        stream.seek(0)
        _npy_header(stream, count, facts["dim"])
        text.detach()
    write_json(out.with_suffix(".json"), dict(facts))


def _npy_header(stream: IO[bytes], count: int, dim: int) -> None:
    """Always of one length, which numpy leaves room for."""
    head = {"descr": "<f4", "fortran_order": False, "shape": (count, dim)}
    np.lib.format.write_array_header_1_0(stream, head)


def vectors_in(table: pa.Table) -> Array:
    """(N, D) float32."""
    column = table["vector"].combine_chunks()
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size))


def write_rejects(out: Path, rejected: Sequence[Rejected]) -> Path | None:
    """The list beside the file; one of an earlier run is removed where there is nothing to list."""
    path = out.with_suffix(".rejected.csv")
    if not rejected:
        path.unlink(missing_ok=True)
        return None
    with atomic_file(path) as stream:
        text = io.StringIO(newline="")
        lines = csv.writer(text)
        lines.writerow(COLUMNS)
        lines.writerows(map(harmless, (one.where, one.id, one.reason, one.detail)) for one in rejected)
        stream.write(text.getvalue().encode("utf-8", "backslashreplace"))
    return path
