"""Single records of a corpus folder: by id, and drawn at random."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mmkd.corpus.schema import COLUMNS, completed
from mmkd.curation.ledger.examples import rows_of
from mmkd.curation.ledger.rows import corpus_batches, rejected_batches, shards_of
from mmkd.errors import ConfigError, DataError
from mmkd.folders.arrow import read_shard
from mmkd.validation import nearest


def find_record(folder: Path, identity: str) -> tuple[bool, dict[str, Any]]:
    """Whether a record is in the corpus, and its row there or among the rejected, of several the first.

    `image` is encoded bytes. Raises DataError for an unknown id.
    """
    first, known = 0, None
    for batch in corpus_batches(folder, ("id",)):
        if (place := pc.index(batch.column("id"), identity).as_py()) >= 0:
            return True, full_rows(folder, [first + place])[0]
        known = known or next(iter(batch.column("id").to_pylist()), None)
        first += batch.num_rows
    for batch in rejected_batches(folder):
        if (place := pc.index(batch.column("id"), identity).as_py()) >= 0:
            return False, batch.slice(place, 1).to_pylist()[0]
    raise DataError(
        f"{folder}: no record {identity!r}, neither kept nor rejected; ids here look like {known!r}, "
        "all stand in curation.parquet"
    )


def sample(folder: Path, count: int, modality: str | None, generator: np.random.Generator) -> list[dict[str, Any]]:
    """Up to `count` different rows, each as likely as any other, in the order of the corpus.

    modality: of this one only. Raises ConfigError when no row has it.
    """
    found: list[np.ndarray] = []
    counts: Counter[str] = Counter()
    first = 0
    for batch in corpus_batches(folder, ("modality",)):
        named = batch.column("modality")
        counts.update(named.to_pylist())
        fits = np.ones(batch.num_rows, bool) if modality is None else np.asarray(pc.equal(named, modality))
        found.append(first + np.flatnonzero(fits))
        first += batch.num_rows
    rows = np.concatenate(found) if found else np.empty(0, np.int64)
    if modality is not None and not len(rows):
        raise ConfigError(f"{folder}: no pair of modality {modality!r}; {nearest(modality, list(counts))}")
    return full_rows(folder, np.sort(generator.choice(rows, min(count, len(rows)), replace=False)))


def full_rows(folder: Path, rows: list[int] | np.ndarray) -> list[dict[str, Any]]:
    """Rows with all columns of a corpus, `image` as encoded bytes."""
    there = [name for name in read_shard(shards_of(folder)[0]).column_names if name in COLUMNS]
    found = completed(rows_of(folder, list(rows), there)).select(COLUMNS).to_pylist()
    return [{**row, "image": row["image"]["bytes"]} for row in found]
