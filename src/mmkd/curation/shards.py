"""The shards of curation: of a source, filtered, and of the corpus.

First half: a shard of a source in, a file of its filtered pairs and a file of its rejections out. Shards are
independent of each other, so several processes filter them and a killed run keeps the finished ones. Nothing here needs
`datasets`, whose import would cost every worker process seconds. Second half: filtered shards in, the shards of the
corpus out, in the order of the sources.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import ne
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from mmkd.corpus.schema import SPLITS, corpus_features, split_of
from mmkd.curation.facts.pairs import Facts, SourceRecord
from mmkd.curation.filters.decide import decide
from mmkd.curation.ledger.steps import CAPTIONLESS, CAPTIONLESS_TRAIN, IN_BOTH_SPLITS, JOINED
from mmkd.curation.records.notes import with_notes
from mmkd.curation.records.record import Excluded, Found, Noted, Record, Rejected, Shard, printable
from mmkd.curation.settings.curate import CurateSettings
from mmkd.errors import DataError
from mmkd.executors.executor import Executor
from mmkd.executors.failures import raise_failed
from mmkd.executors.plan import notes_of
from mmkd.executors.unit import Outcome, Resources, Unit, unit_id
from mmkd.folders.arrow import BATCH_ROWS, arrow_schema, finish, read_shard, write_shard
from mmkd.folders.atomic import draft_of
from mmkd.folders.digests import key_of
from mmkd.images.thumbnails import THUMBNAIL_PIXELS
from mmkd.processes import PROCESSED
from mmkd.progress import counted, track

T = TypeVar("T")
Pictures = dict[str, list[np.ndarray]]
"""Split -> keys of its pictures, uint64."""
WRITE_ROWS = 64  # rows in memory while a shard is written
REPORT_EVERY = 12  # records
EXCLUDED = b"excluded"  # key in the metadata of a file of rejections: source -> records, as JSON
NOTED = b"noted"  # another: rows of source, what, files or records

_TEXT = ("id", "caption", "caption_original", "modality", "source", "licence", "group", "sha256", "where")
_MORE_TEXT = ("modality_stated", "modality_evidence", "labels", "caption_mention", "language", "panel")
PAIRS = pa.schema(
    [(name, pa.string()) for name in (*_TEXT, *_MORE_TEXT)]
    + [("grouped", pa.bool_())]
    + [("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32()), ("phash", pa.uint64())]
    + [
        ("modality_confidence", pa.float32()),
        ("caption_group", pa.uint64()),
        ("thumbnail", pa.binary(THUMBNAIL_PIXELS)),
    ]
)
# the thumbnail is read of those whose hashes are near; it goes into no corpus, nor does what says who told the group
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
    """What filtering a shard removes. excluded: source -> records that its `include` does not select.
    noted: (source, what) -> files or records."""

    rejected: list[Rejected] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    noted: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Hands:
    """Who writes the shards. workers: of the executor, where its settings do not say it. folder: of the stage, beside
    which the notes lie."""

    executor: Executor
    workers: int
    folder: Path


def filter_shards(shards: Sequence[FilteredShard], settings: CurateSettings, hands: Hands) -> None:
    """Write all shards that are not there yet."""
    each_shard("curate", filter_shard, [(shard, shard.pairs) for shard in shards], settings, hands)


def each_shard(
    label: str, body: Callable[[FilteredShard, CurateSettings], None], shards: Sequence[tuple[FilteredShard, Path]],
    settings: CurateSettings, hands: Hands,
) -> None:  # fmt: skip
    """Have `body`, which reports records by `with_progress`, called for each shard whose file is not there yet.

    Raises what it raises, when the other shards are done.
    """
    name = settings.model_dump(mode="json")
    units = [
        Unit(unit_id(name, str(done)), f"shard {shard.number}", done, (body, shard, settings)) for shard, done in shards
    ]
    outcomes = hands.executor.map(units, _call, notes_of(hands.folder, label), Resources(workers=max(1, hands.workers)))
    failed: list[Outcome] = []
    before = sum(done.is_file() for _, done in shards)
    counted(_kept(outcomes, failed), label, len(units), "shards", PROCESSED.total, "records", before)
    raise_failed(failed)


def _kept(outcomes: Iterable[Outcome], failed: list[Outcome]) -> Iterator[None]:
    """Nothing for each outcome; those that failed are kept."""
    for outcome in outcomes:
        failed += [outcome] if outcome.problem else []
        yield


def _call(
    work: tuple[Callable[[FilteredShard, CurateSettings], None], FilteredShard, CurateSettings],
) -> None:
    body, shard, settings = work
    body(shard, settings)


def with_progress(records: Iterable[T]) -> Iterator[T]:
    """The records, reported to the progress by the dozen: many processes share its lock."""
    count = 0
    for record in records:
        count += record.records if isinstance(record, Excluded) else not isinstance(record, Noted)
        if count >= REPORT_EVERY:
            PROCESSED.add(count)
            count = 0
        yield record
    PROCESSED.add(count)


def filter_shard(shard: FilteredShard, settings: CurateSettings) -> None:
    """Read and filter one shard; both files appear whole or not at all."""
    write_filtered(shard, PAIRS, with_progress(with_notes(shard.shard.records())), settings)


def write_filtered(
    shard: FilteredShard, schema: pa.Schema, records: Iterable[Facts | Found], settings: CurateSettings
) -> None:
    """Decide on the records of a shard; write the rows of those that are kept, and what is removed."""
    removed = Removed()
    draft = draft_of(shard.pairs)  # this process's own: one left over from a killed run may still write
    write_shard(draft, schema, batches_of(filtered_rows(records, settings, removed), schema))
    noted = [(*key, files) for key, files in removed.noted.items()]
    counted_too = REJECTIONS.with_metadata({EXCLUDED: json.dumps(removed.excluded), NOTED: json.dumps(noted)})
    write_shard(shard.rejected, counted_too, [rejection_table(removed.rejected)])
    draft.replace(shard.pairs)


def filtered_rows(
    records: Iterable[Facts | Found], settings: CurateSettings, removed: Removed
) -> Iterator[dict[str, Any]]:
    """Rows of PAIRS; what gives none is added to `removed` on the way."""
    for record in records:
        if isinstance(record, Excluded):
            removed.excluded[record.source] += record.records
        elif isinstance(record, Noted):
            removed.noted[record.source, record.what] += record.files
        elif isinstance(record, Rejected):
            removed.rejected.append(record)
        else:
            for one in decide(SourceRecord(record) if isinstance(record, Record) else record, settings):
                if isinstance(one, Rejected):
                    removed.rejected.append(one)
                else:
                    yield one


def excluded_of(shard: FilteredShard) -> Counter[str]:
    """Source -> records of a finished shard that its `include` does not select. Raises DataError where an older version
    made the shard."""
    stored = (read_shard(shard.rejected).schema.metadata or {}).get(EXCLUDED)
    if stored is None or "grouped" not in read_shard(shard.pairs).column_names:
        raise DataError(f"{shard.rejected}: made by an older mmkd; delete {shard.folder} and curate again")
    return Counter(json.loads(stored))


def noted_of(shard: FilteredShard) -> Counter[tuple[str, str]]:
    """(source, what) -> files or records of a finished shard."""
    stored = (read_shard(shard.rejected).schema.metadata or {}).get(NOTED, b"[]")
    return Counter({(source, what): files for source, what, files in json.loads(stored)})


def rejection_table(rejected: Sequence[Rejected]) -> pa.Table:
    """Rejections as a table; what is not UTF-8 in them is written with backslashes."""
    columns = {name: [printable(getattr(r, name)) for r in rejected] for name in REJECTIONS.names}
    return pa.table(columns, schema=REJECTIONS)


def batches_of(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows, WRITE_ROWS at a time."""
    while chunk := list(islice(rows, WRITE_ROWS)):
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


class Kept(Protocol):
    """keep: of each shard which rows, one bool array. joined: group that a record has of its own -> the one it gets."""

    @property
    def keep(self) -> Sequence[np.ndarray]: ...

    @property
    def joined(self) -> Mapping[str, str]: ...


def write_corpus(
    folder: Path, shards: Sequence[FilteredShard], selection: Kept, settings: CurateSettings, seed: int
) -> dict[str, int]:
    """Write the kept rows as a data set of `shard_rows` rows a shard; returns rows per split, those without a caption,
    those that have another record's group, and pictures that are in both splits.

    The bytes depend on nothing but the arguments. A batch of rows is in memory at a time.
    """
    features = corpus_features()
    schema = arrow_schema(features)
    total = sum(int(mask.sum()) for mask in selection.keep)
    sizes = [min(settings.shard_rows, total - first) for first in range(0, total, settings.shard_rows)]
    names = [f"data-{number:05d}-of-{len(sizes):05d}.arrow" for number in range(len(sizes))]
    batch_sizes = [min(BATCH_ROWS, size - first) for size in sizes for first in range(0, size, BATCH_ROWS)]
    content = hashlib.sha256()
    splits: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    pictures: Pictures = {split: [np.empty(0, np.uint64)] for split in SPLITS}
    rows = (_with_split(kept, schema, settings.val, seed) for kept in _corpus_rows(shards, selection, splits))
    batches = _counted(_resized(rows, batch_sizes), content, splits, pictures)
    for name, size in track(zip(names, sizes, strict=True), "write the corpus", total=len(names), unit="shards"):
        write_shard(folder / name, schema, islice(batches, -(-size // BATCH_ROWS)))
    finish(folder, features, names, content.hexdigest())
    train, val = (np.concatenate(pictures[split]) for split in SPLITS)
    if both := len(np.intersect1d(train, val)):
        splits[IN_BOTH_SPLITS] = both
    return dict(splits)


def _corpus_rows(shards: Sequence[FilteredShard], selection: Kept, splits: Counter[str]) -> Iterator[pa.Table]:
    """The kept rows with their groups; how many have that of another record is added to `splits`."""
    for shard, mask in zip(shards, selection.keep, strict=True):
        for kept in _selected(read_shard(shard.pairs), mask) if shard.cached is None else _with_images(shard, mask):
            own, given = (kept.column(name).to_pylist() for name in ("group", "grouped"))
            groups = [
                group if told else selection.joined.get(group, group) for group, told in zip(own, given, strict=True)
            ]
            if moved := sum(map(ne, groups, own)):
                splits[JOINED] += moved
            yield kept.set_column(kept.column_names.index("group"), "group", pa.array(groups, pa.string()))


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


def _counted(
    tables: Iterable[pa.Table], content: "hashlib._Hash", splits: Counter[str], pictures: Pictures
) -> Iterator[pa.Table]:
    """Pass the tables on, adding them to the digest (images by their sha256), to the rows per split and without a
    caption, and to the pictures of each split."""
    for table in tables:
        columns = table.drop_columns("image").to_pydict()
        content.update(json.dumps(columns).encode())
        splits.update(columns["split"])
        untold = [split for caption, split in zip(columns["caption"], columns["split"], strict=True) if not caption]
        if untold:
            splits.update({CAPTIONLESS: len(untold), CAPTIONLESS_TRAIN: untold.count("train")})
        for split, found in pictures.items():
            own = (sha for sha, name in zip(columns["sha256"], columns["split"], strict=True) if name == split)
            found.append(np.fromiter(map(key_of, own), np.uint64))
        yield table
