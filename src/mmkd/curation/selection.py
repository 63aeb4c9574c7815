"""Between the halves of curation: which of all filtered records are selected, and the list of those that are rejected.

Of a record its keys and a flag are held in memory; its thumbnail is read where its hash is near another's. A key has 64
bits, so a record needs 33 bytes, 49 where near pictures are looked for. Among 24 million records two different ids or
pairs share a key with a probability of 2e-5, which would cost one record. N records of all shards.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkd.curation.decontaminate import EvaluationImages, contaminated
from mmkd.curation.duplicates import NONE, REASONS, Duplicates, Keys, find_duplicates
from mmkd.curation.records.record import Rejected
from mmkd.curation.same_pictures import Members, group_holders
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import PAIRS, REJECTIONS, FilteredShard, excluded_of, noted_of, rejection_table
from mmkd.folders.arrow import read_shard
from mmkd.folders.atomic import atomic_file
from mmkd.folders.digests import hash64, key_of
from mmkd.images.hamming import Array
from mmkd.images.near_duplicates import CHUNK
from mmkd.images.thumbnails import THUMBNAIL_PIXELS, ReadThumbnails, thumbnails_from
from mmkd.progress import track
from mmkd.reasons import Reason

COLUMNS = ("id", "caption", "sha256", "phash", "caption_group", "group", "grouped")
LISTED_ROWS = 65_536  # rejections in memory before they are written


@dataclass(frozen=True)
class Selection:
    """keep: one bool array a shard. joined: own group of records for which none is given -> the group they get, where
    they have a picture in common with others. read, kept: rows per source; rejected: rows per (source, reason).

    excluded: records per source that its `include` does not select; they are not among those read.
    noted: files or records per (source, what).
    """

    keep: list[Array]
    joined: Mapping[str, str]
    read: Counter[str]
    kept: Counter[str]
    rejected: Counter[tuple[str, str]]
    excluded: Counter[str]
    noted: Counter[tuple[str, str]]


@dataclass(frozen=True)
class _Gathered:
    """The keys of all shards, where each shard begins, and which records have the bytes of an evaluation image."""

    keys: Keys
    members: Members
    first: list[int]
    exact: dict[int, int]


def select(
    shards: Sequence[FilteredShard], settings: CurateSettings, evaluation: EvaluationImages, listing: Path
) -> Selection:
    """Find contaminated and duplicate records in all shards; list them in `listing` with what the shards rejected.

    The list keeps the order of the shards; in each come first the records it rejected, then those rejected here.
    """
    gathered = _gather(shards, settings, evaluation)
    matched = _contaminated(gathered, settings, evaluation, shards)
    rejected_N = np.zeros(len(gathered.keys.id_N), bool)
    rejected_N[list(matched)] = True
    thumbnails = _on_disk(_thumbnails(shards, gathered.first), listing.parent)
    duplicates = find_duplicates(gathered.keys, settings.duplicates, rejected_N, thumbnails)
    names = _names(shards, gathered.first, duplicates.partner_N)
    keep_N = (duplicates.partner_N == NONE) & ~rejected_N
    joined = _joined(gathered, shards)
    selection = Selection(_by_shard(keep_N, gathered.first), joined, *(Counter() for _ in range(5)))

    def listed() -> Iterator[pa.Table]:
        columns = zip(shards, gathered.first, selection.keep, strict=True)
        for shard, first, keep in track(columns, "list rejections", len(shards), "shards"):
            rejected, pairs = read_shard(shard.rejected), read_shard(shard.pairs).select(("id", "source", "where"))
            removed = pairs.filter(pa.array(~keep)).to_pylist()
            places = (first + np.flatnonzero(~keep)).tolist()
            here = [
                Rejected(row["source"], row["where"], row["id"], *_why(place, row["id"], matched, duplicates, names))
                for place, row in zip(places, removed, strict=True)
            ]
            selection.kept.update(_counts(pairs.filter(pa.array(keep))))
            selection.read.update(_counts(pairs))
            for table in (rejected, rejection_table(here)):
                pairs_of = zip(*(table.column(name).to_pylist() for name in ("source", "reason")), strict=True)
                selection.rejected.update(pairs_of)
                yield table
            selection.read.update(_counts(rejected))
            selection.excluded.update(excluded_of(shard))
            selection.noted.update(noted_of(shard))

    with atomic_file(listing) as stream:
        _write(stream, listed())
    return selection


def _gather(shards: Sequence[FilteredShard], settings: CurateSettings, evaluation: EvaluationImages) -> _Gathered:
    near = settings.duplicates.near != "keep" or bool(evaluation.names)
    place_of = {digest: place for place, digest in reversed(list(enumerate(evaluation.digests)))}
    none = pa.schema([PAIRS.field(name) for name in COLUMNS]).empty_table()
    found, first, exact, count = [keys_of(none, near)], list[int](), dict[int, int](), 0
    members = [_members_of(none)]
    for shard in track(shards, "look for duplicates", len(shards), "shards"):
        excluded_of(shard)  # raises where the shard has none of these columns
        pairs = read_shard(shard.pairs).select(COLUMNS)
        first.append(count)
        found.append(keys_of(pairs, near))
        members.append(_members_of(pairs))
        digests = pairs.column("sha256").to_pylist() if place_of else []
        exact.update({count + row: place_of[digest] for row, digest in enumerate(digests) if digest in place_of})
        count += pairs.num_rows
    joined = (np.concatenate([getattr(keys, name) for keys in found]) for name in Keys.__dataclass_fields__)
    return _Gathered(Keys(*joined), Members(*map(np.concatenate, zip(*members, strict=True))), first, exact)


def _members_of(table: pa.Table) -> Members:
    digests, groups = (table.column(name).to_pylist() for name in ("sha256", "group"))
    return Members(
        picture_N=np.fromiter(map(key_of, digests), np.uint64),
        group_N=np.fromiter(map(hash64, groups), np.uint64),
        grouped_N=table.column("grouped").to_numpy(),
    )


def _joined(gathered: _Gathered, shards: Sequence[FilteredShard]) -> dict[str, str]:
    """As in `Selection`. Records that are rejected here tell of groups as well."""
    thumbnails = _thumbnails(shards, gathered.first)

    def are_flat(place_B: Array) -> Array:
        flat_B: Array = np.ptp(thumbnails(place_B), axis=1) == 0
        return flat_B

    moved_Q, holder_Q = group_holders(gathered.members, are_flat)
    wanted = np.union1d(moved_Q, holder_Q)
    group_of = {
        place: row["group"]
        for places, rows in _rows(shards, gathered.first, wanted, ("group",))
        for place, row in zip(places.tolist(), rows, strict=True)
    }
    return {group_of[own]: group_of[other] for own, other in zip(moved_Q.tolist(), holder_Q.tolist(), strict=True)}


def _contaminated(
    gathered: _Gathered, settings: CurateSettings, evaluation: EvaluationImages, shards: Sequence[FilteredShard]
) -> dict[int, str]:
    if not evaluation.names:
        return {}
    thumbnails, hash_N = _thumbnails(shards, gathered.first), gathered.keys.hash_N
    radius, least = settings.decontaminate_radius, settings.decontaminate_correlation
    same_bytes = {record: f"the image of {evaluation.names[place]}" for record, place in gathered.exact.items()}
    return contaminated(hash_N, thumbnails, evaluation, radius, least) | same_bytes


def _thumbnails(shards: Sequence[FilteredShard], first: Sequence[int]) -> ReadThumbnails:
    """Reads them from the shards as they are asked for."""

    def read(place_B: Array) -> Array:
        rows = [row for _, found in _rows(shards, first, place_B, ("thumbnail",)) for row in found]
        return thumbnails_from([row["thumbnail"] for row in rows])

    return read


def _on_disk(thumbnails: ReadThumbnails, folder: Path) -> ReadThumbnails:
    """The same in a file without a name that is mapped into memory, so that millions of thumbnails need none."""

    def read(place_B: Array) -> Array:
        if not len(place_B):
            return thumbnails_from([])
        with tempfile.TemporaryFile(dir=folder) as file:  # which is there for as long as it is mapped
            # a full disk says so here, not by SIGBUS
            os.posix_fallocate(file.fileno(), 0, len(place_B) * THUMBNAIL_PIXELS)
            thumbnail_BK = np.memmap(file, np.uint8, "w+", shape=(len(place_B), THUMBNAIL_PIXELS))
        for first in range(0, len(place_B), CHUNK):
            chunk = slice(first, first + CHUNK)
            thumbnail_BK[chunk] = thumbnails(place_B[chunk])
        return thumbnail_BK

    return read


def keys_of(table: pa.Table, near: bool) -> Keys:
    """The keys of a table of filtered pairs, which has COLUMNS. Pictures without captions have no caption in common."""
    ids, captions, digests = (table.column(name).to_pylist() for name in ("id", "caption", "sha256"))
    none = np.empty(0, np.uint64)
    id_N = np.array([hash64(one) for one in ids], np.uint64)
    captionless_N = np.array([not caption for caption in captions], bool)
    caption_N = np.where(captionless_N, id_N, table.column("caption_group").to_numpy()) if near else none
    return Keys(
        id_N=id_N,
        pair_N=np.array([hash64(a + b) for a, b in zip(digests, captions, strict=True)], np.uint64),
        hash_N=table.column("phash").to_numpy() if near else none,
        caption_N=caption_N,
    )


def _names(shards: Sequence[FilteredShard], first: Sequence[int], partner_N: Array) -> dict[int, str]:
    """Record -> id and place, of those that are kept in another's stead."""
    wanted = np.unique(partner_N[partner_N != NONE])
    return {
        int(place): f"{row['id']} ({row['where']})"
        for places, rows in _rows(shards, first, wanted, ("id", "where"))
        for place, row in zip(places, rows, strict=True)
    }


def _rows(
    shards: Sequence[FilteredShard], first: Sequence[int], wanted: Array, columns: tuple[str, ...]
) -> Iterator[tuple[Array, list[dict[str, Any]]]]:
    """Of each shard that has some of the wanted records (places, ascending): which, and these columns of them."""
    places_of = _by_shard(wanted, np.searchsorted(wanted, first).tolist())
    for shard, begin, places in zip(shards, first, places_of, strict=True):
        if len(places):
            yield places, read_shard(shard.pairs).select(columns).take(pa.array(places - begin)).to_pylist()


def _by_shard(keep_N: Array, first: Sequence[int]) -> list[Array]:
    return np.split(keep_N, first[1:]) if first else []


def _why(
    place: int, identity: str, matched: dict[int, str], duplicates: Duplicates, names: dict[int, str]
) -> tuple[Reason, str]:
    if place in matched:
        return Reason.CONTAMINATED, matched[place]
    reason, kept = REASONS[int(duplicates.reason_N[place])], names[int(duplicates.partner_N[place])]
    correlation = f", correlation {duplicates.correlation_N[place]:.3f}" if duplicates.correlation_N[place] > 0 else ""
    what = {
        Reason.DUPLICATE_ID: f"the id {identity}",
        Reason.DUPLICATE_PAIR: "the same image and caption",
        Reason.NEAR_DUPLICATE: f"an image {duplicates.distance_N[place]} bits of the perceptual hash away{correlation}",
    }
    return reason, f"kept is the earlier {kept} with {what[reason]}"


def _counts(table: pa.Table) -> Counter[str]:
    counts = pc.value_counts(table.column("source").combine_chunks()).to_pylist()
    return Counter({one["values"]: one["counts"] for one in counts})


def _write(stream: object, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(stream, REJECTIONS) as writer:
        held, rows, written = [rejection_table([])], 0, False
        for table in tables:
            held.append(table)
            rows += table.num_rows
            if rows >= LISTED_ROWS:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held, rows, written = [rejection_table([])], 0, True
        if rows or not written:
            writer.write_table(pa.concat_tables(held).combine_chunks())
