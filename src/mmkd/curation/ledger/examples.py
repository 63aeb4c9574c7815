"""Small pictures of pairs, for people to look at."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmkd.curation.ledger.rows import corpus_batches, shards_of
from mmkd.curation.records.record import Record
from mmkd.folders.arrow import read_shard
from mmkd.images.store import open_picture, stored_image
from mmkd.reasons import BadRecordError
from mmkd.tables.values import as_text

SIDE_PX = 240
QUALITY = 80
MAX_PIXELS = 89_478_485
EACH = 2
MAX_CAPTION = 300  # characters of a caption that are shown


@dataclass(frozen=True)
class Example:
    """A record with its picture. group: what it is an example of: a modality, or the reason why it was rejected."""

    group: str
    id: str
    caption: str
    jpeg: bytes


def kept_examples(folder: Path, each: int = EACH) -> list[Example]:
    """Up to `each` pairs of every modality, by modality: those whose image digests are the smallest.

    A draw that hangs on nothing but the corpus: not on the order of its rows, nor on a seed.
    """
    drawn: dict[str, list[tuple[str, int]]] = {}
    rows = count()
    for batch in corpus_batches(folder, ("modality", "sha256")):
        for group, digest in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            drawn.setdefault(group, []).append((digest, next(rows)))
        drawn = {group: nsmallest(each, members) for group, members in drawn.items()}
    places = [(group, row) for group, members in sorted(drawn.items()) for _, row in members]
    found = rows_of(folder, [row for _, row in places], ("id", "caption", "image")).to_pylist()
    examples = [
        Example(group, row["id"], row["caption"], thumbnail(row["image"]["bytes"]))
        for (group, _), row in zip(places, found, strict=True)
    ]
    return [one for one in examples if one.jpeg]


def rows_of(folder: Path, rows: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """The rows with these numbers, in their order; a shard at a time is mapped. Raises DataError for no corpus."""
    wanted = np.asarray(rows, np.int64)
    found: list[pa.Table] = []
    order: list[np.ndarray] = []
    first = 0
    for path in shards_of(folder):
        shard = read_shard(path).select(columns)
        here = np.flatnonzero((wanted >= first) & (wanted < first + shard.num_rows))
        found.append(shard.take(pa.array(wanted[here] - first)))
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


def caption_start(record: Record) -> str:
    """The beginning of the caption as the source has it; nothing where it is no text."""
    try:
        return as_text(record.caption)[:MAX_CAPTION]
    except BadRecordError:
        return ""
