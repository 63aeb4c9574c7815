"""Columns of a corpus folder, batch by batch, finished or not; and `curation.parquet`, a row for every record read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkd.corpus.schema import LATER, completed
from mmkd.curation.ledger.steps import KEPT, step_of
from mmkd.errors import DataError
from mmkd.folders.arrow import read_shard
from mmkd.folders.atomic import atomic_file
from mmkd.progress import track

CURATION = "curation.parquet"
REJECTED = "rejected.parquet"
ROWS = 8192  # of metadata in memory at a time
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("id", "source", "where", "step", "reason", "detail", "modality", "evidence"), pa.string()),
        "confidence": pa.float32(),
        **dict.fromkeys(("language", "licence", "split"), pa.string()),
    }
)


def shards_of(folder: Path) -> list[Path]:
    """The shards of a corpus folder, in the order of its rows. Raises DataError where there are none."""
    if not (found := sorted(folder.glob("data-*.arrow"))):
        raise DataError(f"{folder}: no data-*.arrow found, so no corpus; give the folder that 'mmkd curate' makes")
    return found


def corpus_batches(folder: Path, columns: Sequence[str], label: str = "") -> Iterator[pa.RecordBatch]:
    """The given columns of all rows, in order; of other columns nothing is read. label: of the progress that is shown.

    Raises DataError for a folder without shards and for a column that neither stands there nor was added later.
    """
    shards = shards_of(folder)
    for path in track(shards, label, len(shards), "shards") if label else shards:
        yield from shard_batches(path, columns)


def shard_batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """As `corpus_batches`, of one shard."""
    shard = read_shard(path)
    there = [name for name in shard.column_names if name in {*columns, "caption"}]
    if strangers := {*columns, "caption"} - {*there, *LATER}:
        raise DataError(f"{path}: no column {', '.join(sorted(strangers))}; it is no corpus, or curate it again")
    for batch in shard.select(there).to_batches(max_chunksize=ROWS):
        if set(columns) <= {*there}:
            yield batch.select(columns)
        else:  # of one batch, so they give one
            yield from completed(pa.Table.from_batches([batch])).select(columns).combine_chunks().to_batches()


def rejected_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows of `rejected.parquet`; none where the corpus was not made by curation."""
    path = folder / REJECTED
    if not path.is_file():
        return
    try:
        yield from pq.ParquetFile(path).iter_batches(ROWS)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not readable ({error}); curate again") from error


def first_rejected(folder: Path, each: int) -> list[dict[str, str]]:
    """Of each reason the first `each` rows of `rejected.parquet`, in their order."""
    found: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    for batch in rejected_batches(folder):
        for row, reason in enumerate(batch.column("reason").to_pylist()):
            if counts[reason] < each:
                counts[reason] += 1
                found += batch.slice(row, 1).to_pylist()
    return found


def write_curation(folder: Path) -> int:
    """Write `curation.parquet`: id, where each record left or that it was kept, and what is known of it.

    Returns its number of rows. A batch of rows is in memory at a time.
    """
    rows = 0
    with atomic_file(folder / CURATION) as stream, pq.ParquetWriter(stream, SCHEMA) as writer:
        for batch in curation_batches(folder):
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def curation_batches(folder: Path) -> Iterator[pa.RecordBatch]:
    """The rows of `curation.parquet`: first what was kept, in the order of the corpus, then what was rejected."""
    theirs = {"evidence": "modality_evidence", "confidence": "modality_confidence"}
    same = ("id", "source", "modality", "language", "licence", "split")
    columns = {name: name for name in same} | theirs
    for batch in corpus_batches(folder, list(columns.values()), "ledger: rows"):
        found = {ours: batch.column(name) for ours, name in columns.items()}
        yield _row_batch({**found, "step": pa.repeat(KEPT, batch.num_rows)}, batch.num_rows)
    for batch in rejected_batches(folder):
        found = {name: batch.column(name) for name in batch.schema.names if name in SCHEMA.names}
        steps = [step_of(reason) for reason in batch.column("reason").to_pylist()]
        yield _row_batch({**found, "step": pa.array(steps, pa.string())}, batch.num_rows)


def _row_batch(columns: dict[str, pa.Array], rows: int) -> pa.RecordBatch:
    """With the columns that are missing: "" for text, null for numbers."""
    made = []
    for field in SCHEMA:
        empty = pa.scalar("" if field.type == pa.string() else None, field.type)
        made.append(pc.cast(columns[field.name], field.type) if field.name in columns else pa.repeat(empty, rows))
    return pa.RecordBatch.from_arrays(made, schema=SCHEMA)
