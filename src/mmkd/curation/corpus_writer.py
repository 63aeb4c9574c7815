"""Second half of curation: filtered shards in, the shards of the corpus out, in the order of the sources."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import SPLITS, corpus_features, split_of
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import FilteredShard
from mmkd.folders.arrow import BATCH_ROWS, arrow_schema, finish, read_shard, write_shard
from mmkd.progress import track


def write_corpus(
    folder: Path, shards: Sequence[FilteredShard], keep: Sequence[np.ndarray], settings: CurateSettings, seed: int
) -> dict[str, int]:
    """Write the kept rows (one bool array a shard) as a data set of `shard_rows` rows a shard; returns rows per split.

    The bytes depend on nothing but the arguments. A batch of rows is in memory at a time.
    """
    features = corpus_features()
    schema = arrow_schema(features)
    total = sum(int(mask.sum()) for mask in keep)
    sizes = [min(settings.shard_rows, total - first) for first in range(0, total, settings.shard_rows)]
    names = [f"data-{number:05d}-of-{len(sizes):05d}.arrow" for number in range(len(sizes))]
    batch_sizes = [min(BATCH_ROWS, size - first) for size in sizes for first in range(0, size, BATCH_ROWS)]
    content = hashlib.sha256()
    splits: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    batches = _counted(_resized(_corpus_rows(shards, keep, schema, settings.val, seed), batch_sizes), content, splits)
    for name, size in track(zip(names, sizes, strict=True), "write the corpus", total=len(names), unit="shards"):
        write_shard(folder / name, schema, islice(batches, -(-size // BATCH_ROWS)))
    finish(folder, features, names, content.hexdigest())
    return dict(splits)


def _corpus_rows(
    shards: Sequence[FilteredShard], keep: Sequence[np.ndarray], schema: pa.Schema, val: float, seed: int
) -> Iterator[pa.Table]:
    for shard, mask in zip(shards, keep, strict=True):
        for kept in _selected(read_shard(shard.pairs), mask) if shard.cached is None else _with_images(shard, mask):
            yield _with_split(kept, schema, val, seed)


def _selected(table: pa.Table, mask: np.ndarray) -> Iterator[pa.Table]:
    first = 0
    for batch in table.to_batches():
        yield pa.Table.from_batches([batch.filter(pa.array(mask[first : first + batch.num_rows]))])
        first += batch.num_rows


def _with_images(shard: FilteredShard, mask: np.ndarray) -> Iterator[pa.Table]:
    """The rows of a shard whose images are cached, in the same order, with them; a batch of images at a time."""
    pairs, cached = read_shard(shard.pairs).filter(pa.array(mask)), read_shard(shard.images).select(["image"])
    wanted = np.zeros(cached.num_rows, bool)
    wanted[pairs.column("row").to_numpy()] = True
    first = 0
    for images in _selected(cached, wanted):
        own = pairs.slice(first, images.num_rows).append_column("image", images.column("image"))
        first += images.num_rows
        yield own.combine_chunks()


def _with_split(pairs: pa.Table, schema: pa.Schema, val: float, seed: int) -> pa.Table:
    """Filtered pairs in the columns of the corpus."""
    columns = {name: pairs.column(name).combine_chunks() for name in pairs.column_names}
    columns["image"] = pa.StructArray.from_arrays(
        [columns["image"], pa.nulls(pairs.num_rows, pa.string())], names=["bytes", "path"]
    )
    columns["split"] = pa.array([split_of(group, val, seed) for group in columns["group"].to_pylist()], pa.string())
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _resized(tables: Iterable[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """The same rows in tables of the given sizes, which must add up to all of them."""
    rest = iter(tables)
    held: list[pa.Table] = []
    count = 0
    for size in sizes:
        while count < size:
            held.append(next(rest))
            count += held[-1].num_rows
        joined = pa.concat_tables(held)
        yield joined.slice(0, size)
        held, count = [joined.slice(size)], count - size


def _counted(tables: Iterable[pa.Table], content: "hashlib._Hash", splits: Counter[str]) -> Iterator[pa.Table]:
    """Pass the tables on, adding them to the digest (images by their sha256) and to the rows per split."""
    for table in tables:
        columns = table.drop_columns("image").to_pydict()
        content.update(json.dumps(columns).encode())
        splits.update(columns["split"])
        yield table
