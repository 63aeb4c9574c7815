"""First half of curation: a part of a source in, a file of checked pairs and a file of rejections out.

Parts are independent of each other, so several processes make them and a killed run keeps the finished ones.
Nothing here needs `datasets`, whose import would cost every worker process seconds.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmkd.arrow_folder import write_shard
from mmkd.corpus.check import checked_pairs
from mmkd.corpus.likeness import LOOK_PIXELS
from mmkd.corpus.records import Rejected, Shard
from mmkd.corpus.settings import CurateSettings
from mmkd.processes import worker_pool
from mmkd.progress import counted

WRITE_ROWS = 64  # rows in memory while a part is written
MAX_DETAIL = 300

_TEXT = ("id", "caption", "caption_original", "modality", "source", "licence", "group", "sha256", "where")
_SAID = ("modality_stated", "modality_evidence", "labels", "caption_mention", "language", "panel")
PAIRS = pa.schema(
    [(name, pa.string()) for name in (*_TEXT, *_SAID)]
    + [("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), ("phash", pa.uint64())]
    + [("modality_confidence", pa.float32()), ("caption_group", pa.uint64()), ("look", pa.binary(LOOK_PIXELS))]
)
# look: see `likeness`; it is read of those whose hashes are near and goes into no corpus
REJECTED = pa.schema([(name, pa.string()) for name in ("source", "where", "id", "reason", "detail")])


@dataclass(frozen=True)
class Part:
    """The files that a shard's checked pairs and rejections go into. `pairs` is written last: it makes a part done.

    kept: where all that was read of the shard lies for later runs as well, with its pictures; `pairs` then has none,
    but the column `row`, which says where in `kept` they are.
    """

    number: int
    shard: Shard
    folder: Path
    kept: Path | None = None

    @property
    def pairs(self) -> Path:
        return self.folder / f"{self.number:06d}{'' if self.kept is None else '.chosen'}.arrow"

    @property
    def rejected(self) -> Path:
        return self.folder / f"{self.number:06d}.rejected.arrow"

    @property
    def pictures(self) -> Path:
        """The file that has them."""
        return self.pairs if self.kept is None else self.kept


def make_parts(parts: Sequence[Part], settings: CurateSettings, workers: int) -> None:
    """Write all parts that are not there yet, in `workers` processes (fewer than two: in this one)."""
    todo = [part for part in parts if not part.pairs.is_file()]
    each_part("curate", write_part, todo, settings, workers, done=len(parts) - len(todo))


def each_part(
    name: str, make: Callable[[Part, CurateSettings], int], todo: Sequence[Part], settings: CurateSettings,
    workers: int, done: int,
) -> None:  # fmt: skip
    """Call `make`, which returns a number of records, for each of the parts; done: of those that are not among them."""
    several = min(workers, len(todo)) > 1
    made = _in_processes(make, todo, settings, workers) if several else (make(part, settings) for part in todo)
    counted(made, name, total=len(todo) + done, unit="parts", inner="records", done=done)


def write_part(part: Part, settings: CurateSettings) -> int:
    """Read, check and write one part; both files appear whole or not at all. Returns the number of records read."""
    rejected: list[Rejected] = []
    return write_pairs(part, PAIRS, checked_rows(part.shard, settings, rejected), rejected)


def write_pairs(part: Part, schema: pa.Schema, rows: Iterator[dict[str, Any]], rejected: list[Rejected]) -> int:
    """Write the rows of a part and what is in `rejected` after the last of them; returns how many both are."""
    # the name is this process's own: a process left over from a killed run must not write into the same file
    draft = part.folder / f"{part.number:06d}.{os.getpid()}.draft"
    kept = write_shard(draft, schema, batches_of(rows, schema))
    _write_rejected(part, rejected)
    draft.replace(part.pairs)
    return kept + len(rejected)


def rejection_table(rejected: Sequence[Rejected]) -> pa.Table:
    """Rejections as a table; what is not UTF-8 in them is written with backslashes."""
    columns = {name: [printable(getattr(r, name)) for r in rejected] for name in REJECTED.names}
    return pa.table(columns, schema=REJECTED)


def _write_rejected(part: Part, rejected: list[Rejected]) -> None:
    draft = part.folder / f"{part.number:06d}.{os.getpid()}.rejected.draft"
    write_shard(draft, REJECTED, [rejection_table(rejected)])
    draft.replace(part.rejected)


def _in_processes(
    make: Callable[[Part, CurateSettings], int], todo: Sequence[Part], settings: CurateSettings, workers: int
) -> Iterator[int]:
    with worker_pool(min(workers, len(todo))) as pool:
        for future in as_completed([pool.submit(make, part, settings) for part in todo]):
            yield future.result()


def checked_rows(shard: Shard, settings: CurateSettings, rejected: list[Rejected]) -> Iterator[dict[str, Any]]:
    """Rows of PAIRS; what is rejected on the way is appended to `rejected`."""
    for found in shard.records():
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        for one in checked_pairs(found, settings):
            if isinstance(one, Rejected):
                rejected.append(one)
            else:
                yield one


def batches_of(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows, WRITE_ROWS at a time."""
    while chunk := list(islice(rows, WRITE_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


def printable(value: str) -> str:
    """With backslashes for what is not UTF-8, and not too long for a list."""
    return value.encode("utf-8", "backslashreplace").decode()[:MAX_DETAIL]
