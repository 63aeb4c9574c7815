"""How fast random rows of a corpus and of twelve aligned feature folders are read, as the distillation loop reads them.

    python bench/read_rows.py [--rows 20000] [--batch 256] [--seconds 10]

Writes bench/results/read_rows.json. The files were written a moment before, so this measures memory-mapped reading
through the system's page cache and the library, not the disk.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import Corpus, corpus_features
from mmkd.folders.arrow import BATCH_ROWS, arrow_schema, finish, open_folder, write_shard
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import Stage, complete, versions
from mmkd.progress import say

FEATURES = 12
DIM = 512
IMAGE_BYTES = 30_000
SHARD_ROWS = 4096
RESULT = Path(__file__).parent / "results" / "read_rows.json"


def write_corpus(folder: Path, rows: int) -> None:
    """Corpus rows with random bytes for images, published as a finished stage."""
    rng = np.random.default_rng(0)
    schema = arrow_schema(corpus_features())

    def tables() -> Iterator[pa.Table]:
        for first in range(0, rows, SHARD_ROWS):
            ids = [f"row_{i:08d}" for i in range(first, min(first + SHARD_ROWS, rows))]
            text = dict.fromkeys(schema.names, ids) | {
                "caption": [f"a caption of common length {'x' * 150}"] * len(ids)
            }
            number = {"width": [224] * len(ids), "height": [224] * len(ids), "phash": [0] * len(ids)}
            image = {"image": [{"bytes": rng.bytes(IMAGE_BYTES), "path": None} for _ in ids]}
            yield pa.Table.from_pydict(text | number | image, schema=schema)

    def body(partial: Path) -> dict[str, int]:
        finish(partial, corpus_features(), write_shards(partial, schema, tables()), "0" * 16)
        return {"rows": rows}

    complete(Stage("corpus", folder, {}), body)


def write_features(folder: Path, rows: int, seed: int) -> None:
    """One column of float16 vectors, aligned with the corpus."""
    from datasets import Features, List, Value

    features = Features({folder.name: List(Value("float16"), length=DIM)})
    rng = np.random.default_rng(seed)

    def tables() -> Iterator[pa.Table]:
        for first in range(0, rows, SHARD_ROWS):
            values = rng.standard_normal(min(SHARD_ROWS, rows - first) * DIM, dtype=np.float32).astype(np.float16)
            yield pa.table({folder.name: pa.FixedSizeListArray.from_arrays(pa.array(values), DIM)})

    folder.mkdir()
    schema = arrow_schema(features)
    finish(folder, features, write_shards(folder, schema, tables()), f"{seed:016x}")


def write_shards(folder: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> list[str]:
    names = []
    for number, table in enumerate(tables):
        names.append(f"data-{number:05d}.arrow")
        write_shard(folder / names[-1], schema, [table])
    return names


def read_batches(folder: Path, batch: int, seconds: float) -> tuple[int, float]:
    """Read random batches for some seconds; rows read and seconds taken. A batch ends as one copy in memory."""
    corpus = Corpus(folder / "corpus")
    features = [open_folder(folder / f"teacher{i}") for i in range(FEATURES)]
    rng = np.random.default_rng(1)
    rows = 0
    begin = time.perf_counter()
    while (taken := time.perf_counter() - begin) < seconds:
        wanted = rng.integers(0, len(corpus), batch)
        joined = corpus.take(wanted)
        for feature in features:
            table = feature[wanted]
            joined = joined.append_column(table.schema.field(0), table.column(0))
        rows += joined.combine_chunks().num_rows  # until here nothing but references to the mapped files is made
    return rows, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "corpus", options.rows)
        for seed in range(FEATURES):
            write_features(folder / f"teacher{seed}", options.rows, seed)
        read_batches(folder, options.batch, 1.0)  # warm the page cache
        rows, taken = read_batches(folder, options.batch, options.seconds)
    result: dict[str, Any] = {
        "rows_per_s": round(rows / taken),
        "rows": options.rows,
        "batch": options.batch,
        "features": FEATURES,
        "bytes_per_row": IMAGE_BYTES + FEATURES * DIM * 2,
        "record_batch_rows": BATCH_ROWS,
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "versions": versions() | {"pyarrow": pa.__version__},
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, result)
    say(f"{result['rows_per_s']:,} rows/s of corpus and {FEATURES} features, batches of {options.batch}; see {RESULT}")


if __name__ == "__main__":
    main()
