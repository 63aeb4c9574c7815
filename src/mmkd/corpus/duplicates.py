"""Which records of a whole corpus repeat earlier ones; N records, G groups of records, P pairs of groups.

A key has 64 bits, so a record needs 16 bytes, 32 where near pictures are looked for. Among 24 million records two
different ids or pairs share a key with a probability of 2e-5, which would cost one record.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmkd.corpus.hamming import Array, within
from mmkd.corpus.records import Reason
from mmkd.corpus.settings import DuplicateSettings

COLUMNS = ("id", "caption", "sha256", "phash", "caption_group")
KEPT = -1
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: keeps captions apart when they are mixed with hashes
REASONS = (Reason.DUPLICATE_ID, Reason.DUPLICATE_PAIR, Reason.NEAR_DUPLICATE)


@dataclass(frozen=True)
class Keys:
    """What tells records apart, uint64 (N,): id, image bytes with caption, perceptual hash, caption.

    The last two are empty where near pictures are not looked for.
    """

    id_N: Array
    pair_N: Array
    hash_N: Array
    caption_N: Array


@dataclass(frozen=True)
class Repeats:
    """partner_N: the place of the earlier record that is kept in this one's stead, KEPT (-1) for a record to keep.

    reason_N: place in REASONS. distance_N: bits between the perceptual hashes, for NEAR_DUPLICATE.
    """

    partner_N: Array
    reason_N: Array
    distance_N: Array


def keys_of(table: pa.Table, near: bool) -> Keys:
    """The keys of a table of checked pairs, which has COLUMNS."""
    ids, captions, digests = (table.column(name).to_pylist() for name in ("id", "caption", "sha256"))
    none = np.empty(0, np.uint64)
    return Keys(
        id_N=np.array([_key(one) for one in ids], np.uint64),
        pair_N=np.array([_key(a + b) for a, b in zip(digests, captions, strict=True)], np.uint64),
        hash_N=table.column("phash").to_numpy() if near else none,
        caption_N=table.column("caption_group").to_numpy() if near else none,
    )


def repeats(keys: Keys, settings: DuplicateSettings, refused_N: Array) -> Repeats:
    """Goes through the records in order and drops what repeats a record that is kept.

    An id may be kept once, and so may a pair of image bytes and cleaned caption; `settings` say the same of near
    pictures. refused_N: records that are out for another reason, and so make no later one a repeat.
    """
    count = len(keys.id_N)
    found = Repeats(np.full(count, KEPT), np.zeros(count, np.int8), np.zeros(count, np.int8))
    id_N, pair_N = _numbered(keys.id_N), _numbered(keys.pair_N)
    near_N, near = _near_groups(keys, settings)
    suspect_N = _shared(id_N) | _shared(pair_N) | near.touches(near_N)
    holders = [np.full(int(group_N.max(initial=-1)) + 1, KEPT) for group_N in (id_N, pair_N, near_N)]
    for record in np.flatnonzero(suspect_N & ~refused_N).tolist():
        groups = (id_N[record], pair_N[record], near_N[record] if len(near_N) else 0)
        partners = (holders[0][groups[0]], holders[1][groups[1]])
        reason = next((place for place, partner in enumerate(partners) if partner != KEPT), None)
        if reason is not None:
            found.partner_N[record], found.reason_N[record] = partners[reason], reason
            continue
        partner, distance = near.nearest_kept(int(groups[2]), holders[2])
        if partner != KEPT:
            found.partner_N[record], found.reason_N[record], found.distance_N[record] = partner, 2, distance
            continue
        for holder, group in zip(holders[: 3 if len(near_N) else 2], groups, strict=False):
            holder[group] = record
    return found


@dataclass(frozen=True)
class Neighbours:
    """Groups of equal hashes and the groups near them. start_G1: where a group's neighbours begin among other_P."""

    start_G1: Array
    other_P: Array
    distance_P: Array

    def touches(self, group_N: Array) -> Array:
        """Which records have another record near; False for all where near pictures are not looked for."""
        if not len(group_N):
            return np.zeros(1, bool)
        lonely_G = (np.diff(self.start_G1) == 1) & (np.bincount(group_N, minlength=len(self.start_G1) - 1) == 1)
        touched_N: Array = ~lonely_G[group_N]
        return touched_N

    def nearest_kept(self, group: int, holder_G: Array) -> tuple[int, int]:
        """The kept record nearest to a group, the first of several, and its distance; KEPT (-1) without one."""
        if not len(holder_G):
            return KEPT, 0
        span = slice(self.start_G1[group], self.start_G1[group + 1])
        held_P, distance_P = holder_G[self.other_P[span]], self.distance_P[span]
        found = [(int(d), int(h)) for d, h in zip(distance_P, held_P, strict=True) if h != KEPT]
        distance, record = min(found, default=(0, KEPT))
        return record, distance


def _near_groups(keys: Keys, settings: DuplicateSettings) -> tuple[Array, Neighbours]:
    """The group (of equal hash, and caption where that counts) of each record, and which groups are near each other."""
    none = np.empty(0, np.int64)
    if settings.near == "keep":
        return none, Neighbours(none, none, none)
    caption_N = keys.caption_N if settings.near == "pair" else np.zeros_like(keys.hash_N)
    _, first_G, group_N = np.unique(keys.hash_N ^ caption_N * SPREAD, return_index=True, return_inverse=True)
    hash_G, caption_G = keys.hash_N[first_G], _numbered(caption_N[first_G])
    # a caption that one group alone has makes no pair: most captions of articles are such
    shared_S = np.flatnonzero(_shared(caption_G))
    pairs = within(hash_G[shared_S], hash_G[shared_S], settings.radius)
    query_P, key_P = shared_S[pairs.query_P], shared_S[pairs.key_P]
    near_P = (caption_G[query_P] == caption_G[key_P]) & (query_P != key_P)
    own_G = np.arange(len(first_G))
    query_P, other_P = np.concatenate([query_P[near_P], own_G]), np.concatenate([key_P[near_P], own_G])
    distance_P = np.concatenate([pairs.distance_P[near_P], np.zeros_like(own_G)])
    order_P = np.argsort(query_P, kind="stable")
    start_G1 = np.searchsorted(query_P[order_P], np.arange(len(first_G) + 1))
    return group_N, Neighbours(start_G1, other_P[order_P], distance_P[order_P])


def _numbered(key_N: Array) -> Array:
    """0.. for each distinct key, in place of the key."""
    return np.unique(key_N, return_inverse=True)[1].astype(np.int32)


def _shared(group_N: Array) -> Array:
    """Whether another record has the same number."""
    shared_N: Array = (np.bincount(group_N) > 1)[group_N]
    return shared_N


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
