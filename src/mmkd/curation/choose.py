"""Between the halves of curation: which of all checked records are kept, and the list of those that are not.

What is held in memory of a record are the keys of `duplicates` and a flag; its thumbnail is read where its hash is near
another's. N records of all parts.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkd.curation.decontaminate import Avoided, contaminated, same_bytes
from mmkd.curation.duplicates import COLUMNS, REASONS, Keys, Repeats, keys_of, repeats
from mmkd.curation.parts import REJECTED, Part, excluded_of, rejection_table
from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.arrow import read_shard
from mmkd.folders.atomic import atomic_file
from mmkd.images.hamming import Array
from mmkd.images.near_duplicates import CHUNK, NONE
from mmkd.images.thumbnails import THUMBNAIL_PIXELS, ReadThumbnails, thumbnails_from
from mmkd.progress import track
from mmkd.reasons import Reason

LISTED_ROWS = 65_536  # rejections in memory before they are written


@dataclass(frozen=True)
class Selection:
    """keep: one bool array a part. read, kept: rows per source; rejected: rows per (source, reason).

    excluded: records per source that its `include` does not select; they are not among those read.
    """

    keep: list[Array]
    read: Counter[str]
    kept: Counter[str]
    rejected: Counter[tuple[str, str]]
    excluded: Counter[str]


@dataclass(frozen=True)
class _Gathered:
    """The keys of all parts, where each part begins, and which records have the bytes of a picture to avoid."""

    keys: Keys
    first: list[int]
    exact: dict[int, int]


def select(parts: Sequence[Part], settings: CurateSettings, avoided: Avoided, listing: Path) -> Selection:
    """Find contaminated and repeated records in all parts; list them in `listing` with what the parts rejected.

    The list keeps the order of the parts; in each come first the records it rejected, then those rejected here.
    """
    gathered = _gather(parts, settings, avoided)
    shown = _contaminated(gathered, settings, avoided, parts)
    refused_N = np.zeros(len(gathered.keys.id_N), bool)
    refused_N[list(shown)] = True
    thumbnails = _on_disk(_thumbnails(parts, gathered.first), listing.parent)
    repeated = repeats(gathered.keys, settings.duplicates, refused_N, thumbnails)
    names = _names(parts, gathered.first, repeated.partner_N)
    keep_N = (repeated.partner_N == NONE) & ~refused_N
    selection = Selection(_by_part(keep_N, gathered.first), Counter(), Counter(), Counter(), Counter())

    def listed() -> Iterator[pa.Table]:
        told = zip(parts, gathered.first, selection.keep, strict=True)
        for part, first, keep in track(told, "list what is dropped", len(parts), "parts"):
            refused, pairs = read_shard(part.rejected), read_shard(part.pairs).select(("id", "source", "where"))
            dropped = pairs.filter(pa.array(~keep)).to_pylist()
            places = (first + np.flatnonzero(~keep)).tolist()
            here = [
                Rejected(row["source"], row["where"], row["id"], *_why(place, row["id"], shown, repeated, names))
                for place, row in zip(places, dropped, strict=True)
            ]
            selection.kept.update(_counts(pairs.filter(pa.array(keep))))
            selection.read.update(_counts(pairs))
            for table in (refused, rejection_table(here)):
                pairs_of = zip(*(table.column(name).to_pylist() for name in ("source", "reason")), strict=True)
                selection.rejected.update(pairs_of)
                yield table
            selection.read.update(_counts(refused))
            selection.excluded.update(excluded_of(part))

    with atomic_file(listing) as stream:
        _write(stream, listed())
    return selection


def _gather(parts: Sequence[Part], settings: CurateSettings, avoided: Avoided) -> _Gathered:
    near = settings.duplicates.near != "keep" or bool(avoided.names)
    place_of = {digest: place for place, digest in reversed(list(enumerate(avoided.digests)))}
    found, first, exact, count = [keys_of(_no_rows(), near)], [], {}, 0
    for part in track(parts, "look for duplicates", len(parts), "parts"):
        pairs = read_shard(part.pairs).select(COLUMNS)
        first.append(count)
        found.append(keys_of(pairs, near))
        digests = pairs.column("sha256").to_pylist() if place_of else []
        exact.update({count + row: place_of[digest] for row, digest in enumerate(digests) if digest in place_of})
        count += pairs.num_rows
    joined = (np.concatenate([getattr(keys, name) for keys in found]) for name in Keys.__dataclass_fields__)
    return _Gathered(Keys(*joined), first, exact)


def _no_rows() -> pa.Table:
    kinds = {"phash": pa.uint64(), "caption_group": pa.uint64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS]).empty_table()


def _contaminated(
    gathered: _Gathered, settings: CurateSettings, avoided: Avoided, parts: Sequence[Part]
) -> dict[int, str]:
    if not avoided.names:
        return {}
    thumbnails, hash_N = _thumbnails(parts, gathered.first), gathered.keys.hash_N
    radius, least = settings.decontaminate_radius, settings.decontaminate_correlation
    return contaminated(hash_N, thumbnails, avoided, radius, least) | same_bytes(gathered.exact, avoided)


def _thumbnails(parts: Sequence[Part], first: Sequence[int]) -> ReadThumbnails:
    """Reads them from the parts as they are asked for."""

    def read(place_B: Array) -> Array:
        rows = [row for _, found in _rows(parts, first, place_B, ("thumbnail",)) for row in found]
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


def _names(parts: Sequence[Part], first: Sequence[int], partner_N: Array) -> dict[int, str]:
    """Record -> id and place, of those that are kept in another's stead."""
    wanted = np.unique(partner_N[partner_N != NONE])
    return {
        int(place): f"{row['id']} ({row['where']})"
        for places, rows in _rows(parts, first, wanted, ("id", "where"))
        for place, row in zip(places, rows, strict=True)
    }


def _rows(
    parts: Sequence[Part], first: Sequence[int], wanted: Array, columns: tuple[str, ...]
) -> Iterator[tuple[Array, list[dict[str, Any]]]]:
    """Of each part that has some of the wanted records (places, ascending): which, and these columns of them."""
    places_of = _by_part(wanted, np.searchsorted(wanted, first).tolist())
    for part, begin, places in zip(parts, first, places_of, strict=True):
        if len(places):
            yield places, read_shard(part.pairs).select(columns).take(pa.array(places - begin)).to_pylist()


def _by_part(keep_N: Array, first: Sequence[int]) -> list[Array]:
    return np.split(keep_N, first[1:]) if first else []


def _why(
    place: int, identity: str, shown: dict[int, str], repeated: Repeats, names: dict[int, str]
) -> tuple[Reason, str]:
    if place in shown:
        return Reason.CONTAMINATED, shown[place]
    reason, kept = REASONS[int(repeated.reason_N[place])], names[int(repeated.partner_N[place])]
    correlation = f", correlation {repeated.correlation_N[place]:.3f}" if repeated.correlation_N[place] > 0 else ""
    what = {
        Reason.DUPLICATE_ID: f"the id {identity}",
        Reason.DUPLICATE_PAIR: "the same image and caption",
        Reason.NEAR_DUPLICATE: f"an image {repeated.distance_N[place]} bits of the perceptual hash away{correlation}",
    }
    return reason, f"kept is the earlier {kept} with {what[reason]}"


def _counts(table: pa.Table) -> Counter[str]:
    counted = pc.value_counts(table.column("source").combine_chunks()).to_pylist()
    return Counter({one["values"]: one["counts"] for one in counted})


def _write(stream: object, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(stream, REJECTED) as writer:
        held, rows, written = [rejection_table([])], 0, False
        for table in tables:
            held.append(table)
            rows += table.num_rows
            if rows >= LISTED_ROWS:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held, rows, written = [rejection_table([])], 0, True
        if rows or not written:
            writer.write_table(pa.concat_tables(held).combine_chunks())
