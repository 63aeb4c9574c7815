"""First half of curation: a part of a source in, a file of checked pairs and a file of rejections out.

Parts are independent of each other, so several processes make them and a killed run keeps the finished ones.
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

from mmkd.curation.check import checked_pairs
from mmkd.curation.records.record import Excluded, Found, Rejected, Shard
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import DataError
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.images.thumbnails import THUMBNAIL_PIXELS
from mmkd.processes import SEEN, worker_pool
from mmkd.progress import counted

T = TypeVar("T")
WRITE_ROWS = 64  # rows in memory while a part is written
TELL_EVERY = 12  # records
MAX_DETAIL = 300
EXCLUDED = b"excluded"  # key in the metadata of a file of rejections: source -> records, as JSON

_TEXT = ("id", "caption", "caption_original", "modality", "source", "licence", "group", "sha256", "where")
_SAID = ("modality_stated", "modality_evidence", "labels", "caption_mention", "language", "panel")
PAIRS = pa.schema(
    [(name, pa.string()) for name in (*_TEXT, *_SAID)]
    + [("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), ("phash", pa.uint64())]
    + [
        ("modality_confidence", pa.float32()),
        ("caption_group", pa.uint64()),
        ("thumbnail", pa.binary(THUMBNAIL_PIXELS)),
    ]
)
# thumbnail: see `images.thumbnails`; it is read of those whose hashes are near and goes into no corpus
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


@dataclass
class Aside:
    """What reading a part gives beside its pairs. excluded: source -> records that its `include` does not select."""

    rejected: list[Rejected] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)

    def put(self, found: Rejected | Excluded) -> None:
        if isinstance(found, Rejected):
            self.rejected.append(found)
        else:
            self.excluded[found.source] += found.records


def make_parts(parts: Sequence[Part], settings: CurateSettings, workers: int) -> None:
    """Write all parts that are not there yet, in `workers` processes (fewer than two: in this one)."""
    todo = [part for part in parts if not part.pairs.is_file()]
    each_part("curate", write_part, todo, settings, workers, done=len(parts) - len(todo))


def each_part(
    name: str, make: Callable[[Part, CurateSettings], None], todo: Sequence[Part], settings: CurateSettings,
    workers: int, done: int,
) -> None:  # fmt: skip
    """Call `make`, which tells what it meets by `tallied`, for each of the parts; done: of those not among them."""
    made = _made(make, todo, settings, workers)
    counted(made, name, total=len(todo) + done, unit="parts", seen=SEEN.total, inner="records", done=done)


def tallied(records: Iterable[T]) -> Iterator[T]:
    """The records, of which the progress hears by the dozen: many processes share its lock."""
    met = 0
    for record in records:
        met += record.records if isinstance(record, Excluded) else 1
        if met >= TELL_EVERY:
            SEEN.add(met)
            met = 0
        yield record
    SEEN.add(met)


def write_part(part: Part, settings: CurateSettings) -> None:
    """Read, check and write one part; both files appear whole or not at all."""
    aside = Aside()
    write_pairs(part, PAIRS, checked_rows(tallied(part.shard.records()), settings, aside), aside)


def write_pairs(part: Part, schema: pa.Schema, rows: Iterator[dict[str, Any]], aside: Aside) -> None:
    """Write the rows of a part and what is in `aside` after the last of them."""
    # the name is this process's own: a process left over from a killed run must not write into the same file
    draft = part.folder / f"{part.number:06d}.{os.getpid()}.draft"
    write_shard(draft, schema, batches_of(rows, schema))
    _write_aside(part, aside)
    draft.replace(part.pairs)


def excluded_of(part: Part) -> Counter[str]:
    """Source -> records of a finished part that its `include` does not select."""
    told = (read_shard(part.rejected).schema.metadata or {}).get(EXCLUDED)
    if told is None:
        raise DataError(f"{part.rejected}: made by an older mmkd; delete {part.folder} and curate again")
    return Counter(json.loads(told))


def rejection_table(rejected: Sequence[Rejected]) -> pa.Table:
    """Rejections as a table; what is not UTF-8 in them is written with backslashes."""
    columns = {name: [printable(getattr(r, name)) for r in rejected] for name in REJECTED.names}
    return pa.table(columns, schema=REJECTED)


def _write_aside(part: Part, aside: Aside) -> None:
    draft = part.folder / f"{part.number:06d}.{os.getpid()}.rejected.draft"
    schema = REJECTED.with_metadata({EXCLUDED: json.dumps(aside.excluded)})
    write_shard(draft, schema, [rejection_table(aside.rejected)])
    draft.replace(part.rejected)


def _made(
    make: Callable[[Part, CurateSettings], None], todo: Sequence[Part], settings: CurateSettings, workers: int
) -> Iterator[None]:
    """Nothing for each part, when it is made."""
    processes = min(workers, len(todo))
    if processes < 2:
        for part in todo:
            make(part, settings)
            yield
        return
    with worker_pool(processes) as pool:
        for future in as_completed([pool.submit(make, part, settings) for part in todo]):
            yield future.result()


def checked_rows(records: Iterable[Found], settings: CurateSettings, aside: Aside) -> Iterator[dict[str, Any]]:
    """Rows of PAIRS; what gives none is put into `aside` on the way."""
    for found in records:
        if isinstance(found, Rejected | Excluded):
            aside.put(found)
            continue
        for one in checked_pairs(found, settings):
            if isinstance(one, Rejected):
                aside.put(one)
            else:
                yield one


def batches_of(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows, WRITE_ROWS at a time."""
    while chunk := list(islice(rows, WRITE_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


def printable(value: str) -> str:
    """With backslashes for what is not UTF-8, and not too long for a list."""
    return value.encode("utf-8", "backslashreplace").decode()[:MAX_DETAIL]
