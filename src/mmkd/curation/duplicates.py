"""Which records of a whole corpus are duplicates of earlier ones; N records.

A key has 64 bits, so a record needs 16 bytes, 32 where near pictures are looked for. Among 24 million records two
different ids or pairs share a key with a probability of 2e-5, which would cost one record.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.folders.digests import hash64
from mmkd.images.hamming import Array
from mmkd.images.near_duplicates import NONE, Neighbours, neighbours
from mmkd.images.thumbnails import ReadThumbnails
from mmkd.reasons import Reason

COLUMNS = ("id", "caption", "sha256", "phash", "caption_group")
REASONS = (Reason.DUPLICATE_ID, Reason.DUPLICATE_PAIR, Reason.NEAR_DUPLICATE)


@dataclass(frozen=True)
class Keys:
    """What identifies records, uint64 (N,): id, image bytes with caption, perceptual hash, caption.

    The last two are empty where near pictures are not looked for.
    """

    id_N: Array
    pair_N: Array
    hash_N: Array
    caption_N: Array


@dataclass(frozen=True)
class Duplicates:
    """partner_N: the place of the earlier record that is kept instead, NONE (-1) for a record to keep.

    reason_N: place in REASONS. distance_N and correlation_N: of the pictures, for NEAR_DUPLICATE, see `Original`.
    """

    partner_N: Array
    reason_N: Array
    distance_N: Array
    correlation_N: Array


def keys_of(table: pa.Table, near: bool) -> Keys:
    """The keys of a table of filtered pairs, which has COLUMNS."""
    ids, captions, digests = (table.column(name).to_pylist() for name in ("id", "caption", "sha256"))
    none = np.empty(0, np.uint64)
    return Keys(
        id_N=np.array([hash64(one) for one in ids], np.uint64),
        pair_N=np.array([hash64(a + b) for a, b in zip(digests, captions, strict=True)], np.uint64),
        hash_N=table.column("phash").to_numpy() if near else none,
        caption_N=table.column("caption_group").to_numpy() if near else none,
    )


def find_duplicates(
    keys: Keys, settings: DuplicateSettings, rejected_N: Array, thumbnails: ReadThumbnails
) -> Duplicates:
    """Goes through the records in order; what repeats a record that is kept is a duplicate.

    An id may be kept once, and so may a pair of image bytes and cleaned caption; `settings` say the same of near
    pictures. rejected_N: records that are rejected for another reason, and so make no later one a duplicate.
    """
    count = len(keys.id_N)
    zeros = (np.zeros(count, kind) for kind in (np.int8, np.int8, np.float32))
    found = Duplicates(np.full(count, NONE), *zeros)
    groups_2N = [_numbered(keys.id_N), _numbered(keys.pair_N)]
    near = _near(keys, settings, thumbnails)
    near_N = np.zeros(count, bool) if near is None else near.has_neighbour()
    candidate_N = _shared(groups_2N[0]) | _shared(groups_2N[1]) | near_N
    kept_G = np.full(near.groups if near else 0, NONE)
    holders = [np.full(int(group_N.max(initial=-1)) + 1, NONE) for group_N in groups_2N]
    for record in np.flatnonzero(candidate_N & ~rejected_N).tolist():
        partners = [int(holder[group_N[record]]) for holder, group_N in zip(holders, groups_2N, strict=True)]
        reason = next((place for place, partner in enumerate(partners) if partner != NONE), None)
        if reason is not None:
            found.partner_N[record], found.reason_N[record] = partners[reason], reason
            continue
        if near and near_N[record] and (original := near.original(record, kept_G)):
            found.partner_N[record], found.reason_N[record] = original.record, REASONS.index(Reason.NEAR_DUPLICATE)
            found.distance_N[record], found.correlation_N[record] = original.distance, original.correlation
            continue
        for holder, group_N in zip(holders, groups_2N, strict=True):
            holder[group_N[record]] = record
        if near and near_N[record]:
            kept_G[near.group_N[record]] = record
    return found


def _numbered(key_N: Array) -> Array:
    """0.. for each distinct key, in place of the key."""
    return np.unique(key_N, return_inverse=True)[1].astype(np.int32)


def _shared(group_N: Array) -> Array:
    """Whether another record has the same number."""
    shared_N: Array = (np.bincount(group_N) > 1)[group_N]
    return shared_N


def _near(keys: Keys, settings: DuplicateSettings, thumbnails: ReadThumbnails) -> Neighbours | None:
    """The near duplicates, with equal captions only or whatever the captions, as the settings say; None to keep all."""
    if settings.near == "keep":
        return None
    caption_N = keys.caption_N if settings.near == "pair" else np.zeros_like(keys.hash_N)
    return neighbours(keys.hash_N, caption_N, settings.radius, settings.correlation, thumbnails)
