"""Vectors of a source straight into an archive; a run that was killed goes on with the same call."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkd.archive.archive import Added, Archive, add_vectors
from mmkd.archive.index import check_foreign, source_name
from mmkd.archive.rows import facts_of
from mmkd.errors import ConfigError
from mmkd.executors.executor import Executor
from mmkd.folders.digests import bytes_digest, json_digest
from mmkd.inference.embed import GROUP_ROWS, Embedded, check_out, embed, vectors_in
from mmkd.inference.model import absolute, open_model
from mmkd.inference.pictures import DEFAULTS, SourceOptions

REJECTS = ".rejected.csv"


@dataclass(frozen=True)
class Stored:
    """rows: in the archive, after it."""

    embedded: Embedded
    added: Added
    rows: int


def embed_into(
    source: Path,
    model: str,
    place: Path,
    options: SourceOptions = DEFAULTS,
    devices: Sequence[str] = ("auto",),
    workers: int = 0,
    batch: int = 32,
    executor: Executor | None = None,
) -> Stored:
    """Add the pictures' vectors to the archive, which is made where there is none. Rows have no thumbnail.

    executor: as of `embed`. The vectors lie in a hidden file beside the archive until all of them are in it. Raises
    ConfigError, DataError, ModelError.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise ConfigError(
            f"--out {place} is an archive, which one process writes; under torchrun give a .parquet file, or leave "
            "torchrun out and name the --devices"
        )
    made = place.with_name(f".{place.name}.{json_digest(str(source.resolve()))[:12]}.parquet")
    check_out(source, made)
    text = absolute(model)
    opened = open_model(text, devices[0])
    facts = facts_of(opened, text)
    archive = Archive.create(place, facts)
    embedded = embed(
        source, opened if len(devices) == 1 and not executor else text, made, options, devices, workers, batch, executor
    )
    added, name = Added(), source_name(source)
    with pq.ParquetFile(made) as file:
        for part in file.iter_batches(GROUP_ROWS):
            rows = with_source(pa.Table.from_batches([part]), name)
            check_foreign(archive, name, rows["id"].to_pylist(), "embed into another archive, or use mmkd index")
            added += add_vectors(place, rows, facts)
    archive = Archive.open(place)
    notes = archive.finish(opened.encode_texts)
    if embedded.rejects:
        listed = place.with_name(f"{place.name}{REJECTS}")
        embedded = replace(embedded, rejects=embedded.rejects.replace(listed))
    made.unlink()
    return Stored(embedded, added, notes["rows"])


def with_source(table: pa.Table, source: str) -> pa.Table:
    """With the columns source and state, which follows the vectors and all that is told of the pictures."""
    names = [name for name in table.column_names if name != "vector"]
    told = zip(*(table[name].to_pylist() for name in names), strict=True)
    vector_ND = np.ascontiguousarray(vectors_in(table))
    states = [
        json_digest([source, *facts, bytes_digest(vector_D.tobytes())])[:32]
        for facts, vector_D in zip(told, vector_ND, strict=True)
    ]
    return table.append_column("source", pa.array([source] * len(table))).append_column("state", pa.array(states))
