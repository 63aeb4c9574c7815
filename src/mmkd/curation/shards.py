"""First half of curation: a shard of a source in, a file of its filtered pairs and a file of its rejections out.

Shards are independent of each other, so several processes filter them and a killed run keeps the finished ones.
Nothing here needs `datasets`, whose import would cost every worker process seconds.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from mmkd.curation.facts.pairs import Facts, SourceRecord
from mmkd.curation.filters.decide import decide
from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import DataError
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.images.thumbnails import THUMBNAIL_PIXELS
from mmkd.processes import SEEN, worker_pool
from mmkd.progress import counted

T = TypeVar("T")
WRITE_ROWS = 64  # rows in memory while a shard is written
REPORT_EVERY = 12  # records
MAX_DETAIL = 300
EXCLUDED = b"excluded"  # key in the metadata of a file of rejections: source -> records, as JSON

_TEXT = ("id", "caption", "caption_original", "modality", "source", "licence", "group", "sha256", "where")
_MORE_TEXT = ("modality_stated", "modality_evidence", "labels", "caption_mention", "language", "panel")
PAIRS = pa.schema(
    [(name, pa.string()) for name in (*_TEXT, *_MORE_TEXT)]
    + [("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), ("phash", pa.uint64())]
    + [
        ("modality_confidence", pa.float32()),
        ("caption_group", pa.uint64()),
        ("thumbnail", pa.binary(THUMBNAIL_PIXELS)),
    ]
)
# the thumbnail is read of those whose hashes are near, and goes into no corpus
REJECTIONS = pa.schema([(name, pa.string()) for name in ("source", "where", "id", "reason", "detail")])


@dataclass(frozen=True)
class FilteredShard:
    """The files for a shard's filtered pairs and rejections. `pairs` is written last: the shard is then done.

    cached: the file for all that is read of the shard, for later runs as well, with its images; `pairs` then has none,
    but the column `row`, which says where in `cached` they are.
    """

    number: int
    shard: Shard
    folder: Path
    cached: Path | None = None

    @property
    def pairs(self) -> Path:
        return self.folder / f"{self.number:06d}{'' if self.cached is None else '.rows'}.arrow"

    @property
    def rejected(self) -> Path:
        return self.folder / f"{self.number:06d}.rejected.arrow"

    @property
    def images(self) -> Path:
        """The file that has them."""
        return self.pairs if self.cached is None else self.cached


@dataclass
class Removed:
    """What filtering a shard removes. excluded: source -> records that its `include` does not select."""

    rejected: list[Rejected] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)


def filter_shards(shards: Sequence[FilteredShard], settings: CurateSettings, workers: int) -> None:
    """Write all shards that are not there yet, in `workers` processes (fewer than two: in this one)."""
    each_shard(
        "curate", filter_shard, [shard for shard in shards if not shard.pairs.is_file()], settings, workers, len(shards)
    )


def each_shard(
    label: str, body: Callable[[FilteredShard, CurateSettings], None], todo: Sequence[FilteredShard],
    settings: CurateSettings, workers: int, total: int,
) -> None:  # fmt: skip
    """Call `body`, which reports records by `with_progress`, for each shard of `todo`. total: of all."""
    done = total - len(todo)
    counted(_each(body, todo, settings, workers), label, total, "shards", SEEN.total, "records", done)


def with_progress(records: Iterable[T]) -> Iterator[T]:
    """The records, reported to the progress by the dozen: many processes share its lock."""
    count = 0
    for record in records:
        count += record.records if isinstance(record, Excluded) else 1
        if count >= REPORT_EVERY:
            SEEN.add(count)
            count = 0
        yield record
    SEEN.add(count)


def filter_shard(shard: FilteredShard, settings: CurateSettings) -> None:
    """Read and filter one shard; both files appear whole or not at all."""
    write_filtered(shard, PAIRS, with_progress(shard.shard.records()), settings)


def write_filtered(
    shard: FilteredShard, schema: pa.Schema, records: Iterable[Facts | Found], settings: CurateSettings
) -> None:
    """Decide on the records of a shard; write the rows of those that are kept, and what is removed."""
    removed = Removed()
    # the name is this process's own: a process left over from a killed run must not write into the same file
    draft = shard.folder / f"{shard.number:06d}.{os.getpid()}.draft"
    write_shard(draft, schema, batches_of(filtered_rows(records, settings, removed), schema))
    counted_too = REJECTIONS.with_metadata({EXCLUDED: json.dumps(removed.excluded)})
    write_shard(shard.rejected, counted_too, [rejection_table(removed.rejected)])
    draft.replace(shard.pairs)


def filtered_rows(
    records: Iterable[Facts | Found], settings: CurateSettings, removed: Removed
) -> Iterator[dict[str, Any]]:
    """Rows of PAIRS; what gives none is added to `removed` on the way."""
    for record in records:
        if isinstance(record, Excluded):
            removed.excluded[record.source] += record.records
        elif isinstance(record, Rejected):
            removed.rejected.append(record)
        else:
            for one in decide(SourceRecord(record) if isinstance(record, Record) else record, settings):
                if isinstance(one, Rejected):
                    removed.rejected.append(one)
                else:
                    yield one


def excluded_of(shard: FilteredShard) -> Counter[str]:
    """Source -> records of a finished shard that its `include` does not select."""
    stored = (read_shard(shard.rejected).schema.metadata or {}).get(EXCLUDED)
    if stored is None:
        raise DataError(f"{shard.rejected}: made by an older mmkd; delete {shard.folder} and curate again")
    return Counter(json.loads(stored))


def rejection_table(rejected: Sequence[Rejected]) -> pa.Table:
    """Rejections as a table; what is not UTF-8 in them is written with backslashes."""
    columns = {name: [printable(getattr(r, name)) for r in rejected] for name in REJECTIONS.names}
    return pa.table(columns, schema=REJECTIONS)


def batches_of(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows, WRITE_ROWS at a time."""
    while chunk := list(islice(rows, WRITE_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


def printable(value: str) -> str:
    """With backslashes for what is not UTF-8, and not too long for a list."""
    return value.encode("utf-8", "backslashreplace").decode()[:MAX_DETAIL]


def _each(
    body: Callable[[FilteredShard, CurateSettings], None], todo: Sequence[FilteredShard], settings: CurateSettings,
    workers: int,
) -> Iterator[None]:  # fmt: skip
    """Nothing for each shard, when it is done."""
    processes = min(workers, len(todo))
    if processes < 2:
        for shard in todo:
            body(shard, settings)
            yield
        return
    with worker_pool(processes) as pool:
        for future in as_completed([pool.submit(body, shard, settings) for shard in todo]):
            yield future.result()
