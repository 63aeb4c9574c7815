"""Which earlier picture a picture repeats: hashes that are near, and looks that are alike.

N records, H heaps of records with an equal hash (and caption, where that counts), S suspects, which are the records
that are not alone, G groups of suspects with an equal look in one heap, P pairs of heaps or of groups, C of those at
once, K pixels of a look, W words of 64 bits in it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmkd.images.hamming import Array, near
from mmkd.images.thumbnails import Looks, likeness

KEPT = -1
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: keeps captions apart when they are mixed with hashes
CHUNK = 2**14  # looks in memory at once


class Pairs(NamedTuple):
    """Two heaps or groups each (P,), the one before the other; bits between their hashes; likeness, 0 if not asked."""

    one_P: Array
    other_P: Array
    distance_P: Array
    likeness_P: Array


class Copied(NamedTuple):
    """Of which record a picture is a copy. distance: bits of the hash. likeness: 0..1, 0 where it was not asked for."""

    record: int
    distance: int
    likeness: float


class Neighbours(NamedTuple):
    """The groups whose pictures count as one, each also near itself. group_N: that of each record, -1 for who is alone.

    start_G1: where a group's neighbours begin among other_P.
    """

    group_N: Array
    start_G1: Array
    other_P: Array
    distance_P: Array
    likeness_P: Array

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.start_G1) - 1

    def touched(self) -> Array:
        """Which records have another record near, bool (N,)."""
        own_N = self.group_N[self.group_N != KEPT]
        lonely_G = (np.diff(self.start_G1) == 1) & (np.bincount(own_N, minlength=self.groups) == 1)
        touched_N = np.zeros(len(self.group_N), bool)
        touched_N[self.group_N != KEPT] = ~lonely_G[own_N]
        return touched_N

    def copied(self, record: int, holder_G: Array) -> Copied | None:
        """What a touched record repeats: the most alike of the kept records near it, the nearest of those, the first.

        holder_G: the kept record of each group, KEPT (-1) where none is kept yet.
        """
        group = self.group_N[record]
        span = slice(self.start_G1[group], self.start_G1[group + 1])
        held_P = holder_G[self.other_P[span]]
        found = [
            (-alike, distance, place)
            for alike, distance, place in zip(self.likeness_P[span], self.distance_P[span], held_P, strict=True)
            if place != KEPT
        ]
        if not found:
            return None
        less, distance, place = min(found)
        return Copied(int(place), int(distance), float(-less))


def alone(records: int) -> Neighbours:
    """Nobody is near anybody."""
    none = np.empty(0, np.int64)
    return Neighbours(np.full(records, KEPT), np.zeros(1, np.int64), none, none, none)


def neighbours(hash_N: Array, caption_N: Array, radius: int, least_likeness: float, looks: Looks) -> Neighbours:
    """What is near what, among records of equal caption_N. looks: asked once, for the suspects, if likeness counts.

    Hashes are looked up by heaps, not by records, and looks are compared by groups, so of equal pictures not each is
    compared with each. Time grows with the number of near pairs of different looks. Raises ValueError as `near` does.
    """
    _, first_H, heap_N = np.unique(hash_N ^ caption_N * SPREAD, return_index=True, return_inverse=True)
    pairs = _near_heaps(hash_N[first_H], caption_N[first_H], radius)
    if least_likeness == 0:
        return _both_ways(heap_N, len(first_H), pairs, 0.0)
    alone_H = np.bincount(heap_N, minlength=len(first_H)) == 1
    alone_H[pairs.one_P] = alone_H[pairs.other_P] = False
    record_S = np.flatnonzero(~alone_H[heap_N])
    look_SK = looks(record_S)
    group_S, first_G = _alike_in(heap_N[record_S], look_SK)
    start_H1 = np.searchsorted(heap_N[record_S][first_G], np.arange(len(first_H) + 1))
    confirmed = list(_confirmed(pairs, start_H1, lambda group_P: look_SK[first_G[group_P]], least_likeness))
    group_N = np.full(len(hash_N), KEPT)
    group_N[record_S] = group_S
    return _both_ways(group_N, len(first_G), _joined(confirmed), 1.0)


def _near_heaps(hash_H: Array, caption_H: Array, radius: int) -> Pairs:
    _, caption_H, times_H = np.unique(caption_H, return_inverse=True, return_counts=True)
    # a caption that one heap alone has makes no pair: most captions of articles are such
    shared_C = np.flatnonzero(times_H[caption_H] > 1)
    found = []
    for pairs in near(hash_H[shared_C], hash_H[shared_C], radius):
        one_P, other_P = shared_C[pairs.query_P], shared_C[pairs.key_P]
        wanted_P = (one_P < other_P) & (caption_H[one_P] == caption_H[other_P])
        distance_P = pairs.distance_P[wanted_P].astype(np.int8)
        columns = one_P[wanted_P].astype(np.int32), other_P[wanted_P].astype(np.int32), distance_P
        found.append(Pairs(*columns, np.zeros(len(distance_P), np.float32)))
    return _joined(found)


def _joined(found: list[Pairs]) -> Pairs:
    none = Pairs(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int8), np.empty(0, np.float32))
    return Pairs(*(np.concatenate(column) for column in zip(none, *found, strict=True)))


def _alike_in(heap_S: Array, look_SK: Array) -> tuple[Array, Array]:
    """Group of each suspect (S,), and the first suspect of each (G,); the groups of a heap stand together."""
    weight_W = np.random.default_rng(0).integers(0, 2**64, look_SK.shape[1] // 8, np.uint64) | np.uint64(1)
    key_S = np.zeros(len(heap_S), np.uint64)  # equal for equal looks, and by chance once in 2**60
    for first in range(0, len(heap_S), CHUNK):
        chunk = slice(first, first + CHUNK)
        word_CW = np.ascontiguousarray(look_SK[chunk]).view(np.uint64)
        key_S[chunk] = (word_CW * weight_W).sum(axis=1, dtype=np.uint64)
    order_S = np.lexsort((key_S, heap_S))
    sorted_S2 = np.stack([heap_S[order_S].astype(np.uint64), key_S[order_S]], axis=1)
    begins_S = np.ones(len(heap_S), bool)
    begins_S[1:] = (sorted_S2[1:] != sorted_S2[:-1]).any(axis=1)
    group_S = np.empty(len(heap_S), np.int64)
    group_S[order_S] = np.cumsum(begins_S) - 1
    return group_S, order_S[begins_S]


def _confirmed(pairs: Pairs, start_H1: Array, look_of: Looks, least: float) -> Iterator[Pairs]:
    """Pairs of groups that are alike, of every pair of near heaps and within each heap."""
    own_H = np.arange(len(start_H1) - 1)
    one_P, other_P = np.concatenate([pairs.one_P, own_H]), np.concatenate([pairs.other_P, own_H])
    distance_P = np.concatenate([pairs.distance_P, np.zeros(len(own_H), np.int8)])
    groups_H = np.diff(start_H1)
    ends_P = np.cumsum(groups_H[one_P] * groups_H[other_P])
    for first in range(0, int(ends_P[-1]) if len(ends_P) else 0, CHUNK):
        number_C = np.arange(first, min(first + CHUNK, int(ends_P[-1])))
        pair_C = np.searchsorted(ends_P, number_C, side="right")
        across_C = groups_H[other_P[pair_C]]
        within_C = number_C - (ends_P[pair_C] - groups_H[one_P[pair_C]] * across_C)
        a_C, b_C = start_H1[one_P[pair_C]] + within_C // across_C, start_H1[other_P[pair_C]] + within_C % across_C
        twice_C = (one_P[pair_C] == other_P[pair_C]) & (a_C >= b_C)
        a_C, b_C, pair_C = a_C[~twice_C], b_C[~twice_C], pair_C[~twice_C]
        alike_C = likeness(look_of(a_C), look_of(b_C))
        enough_C = alike_C >= least
        found = a_C[enough_C], b_C[enough_C], distance_P[pair_C[enough_C]], alike_C[enough_C]
        yield Pairs(*found)


def _both_ways(group_N: Array, groups: int, pairs: Pairs, own: float) -> Neighbours:
    """own: the likeness of a group to itself."""
    own_G = np.arange(groups)
    one_P = np.concatenate([pairs.one_P, pairs.other_P, own_G])
    other_P = np.concatenate([pairs.other_P, pairs.one_P, own_G])
    distance_P = np.concatenate([pairs.distance_P, pairs.distance_P, np.zeros(groups, np.int8)])
    likeness_P = np.concatenate([pairs.likeness_P, pairs.likeness_P, np.full(groups, own)])
    order_P = np.argsort(one_P, kind="stable")
    start_G1 = np.searchsorted(one_P[order_P], np.arange(groups + 1))
    return Neighbours(group_N, start_G1, other_P[order_P], distance_P[order_P], likeness_P[order_P])
