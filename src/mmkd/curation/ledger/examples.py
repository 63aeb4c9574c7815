"""Small pictures of pairs, for people to look at."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.curation.ledger.rows import corpus_batches, shards_of
from mmkd.folders.arrow import read_shard
from mmkd.images.store import open_picture, stored_image
from mmkd.reasons import BadRecordError

SIDE_PX = 240
QUALITY = 80
MAX_PIXELS = 89_478_485
EACH = 2


@dataclass(frozen=True)
class Example:
    """A record with its picture. group: what it is an example of: a modality, or the reason why it was dropped."""

    group: str
    id: str
    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class Place:
    """Where a row is, and what decides whether it is drawn."""

    group: str
    draw: str
    row: int


def kept_examples(folder: Path, each: int = EACH) -> list[Example]:
    """Up to `each` pairs of every modality, by modality: those whose image digests are the smallest.

    A draw that hangs on nothing but the corpus: not on the order of its rows, nor on a seed.
    """
    chosen: dict[str, list[Place]] = {}
    first = 0
    for batch in corpus_batches(folder, ("modality", "sha256")):
        modality, digest = (batch.column(name).to_pylist() for name in ("modality", "sha256"))
        places = [Place(group, draw, first + n) for n, (group, draw) in enumerate(zip(modality, digest, strict=True))]
        for group, members in _by_group(places):
            chosen[group] = nsmallest(each, [*chosen.get(group, []), *members], key=lambda one: (one.draw, one.row))
        first += batch.num_rows
    places = [place for _, members in sorted(chosen.items()) for place in members]
    rows = rows_of(folder, [place.row for place in places], ("id", "caption", "image"))
    told = zip(places, rows.to_pylist(), strict=True)
    made = [Example(place.group, row["id"], row["caption"], thumbnail(row["image"]["bytes"])) for place, row in told]
    return [one for one in made if one.jpeg]


def rows_of(folder: Path, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """The rows with these numbers, in their order; a shard at a time is mapped. Raises DataError for no corpus."""
    asked = np.asarray(rows, np.int64)
    found: list[pa.Table] = []
    order: list[np.ndarray] = []
    first = 0
    for path in shards_of(folder):
        shard = read_shard(path).select(columns)
        here = np.flatnonzero((asked >= first) & (asked < first + shard.num_rows))
        found.append(shard.take(pa.array(asked[here] - first)))
        order.append(here)
        first += shard.num_rows
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))


def thumbnail(data: bytes) -> bytes:
    """A JPEG of at most SIDE_PX pixels on its long side; empty where the picture cannot be read."""
    try:
        small = stored_image(data, 1, SIDE_PX, MAX_PIXELS).data
    except BadRecordError:
        return b""
    buffer = io.BytesIO()
    open_picture(small, 1, SIDE_PX, MAX_PIXELS).image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def _by_group(places: Iterable[Place]) -> Iterator[tuple[str, list[Place]]]:
    ordered = sorted(places, key=lambda one: one.group)
    return ((group, list(members)) for group, members in groupby(ordered, key=lambda one: one.group))
