"""Near-duplicate search: pairs of pictures with near hashes, confirmed by the correlation of their thumbnails.

N records, H buckets of records with an equal hash (and caption, where that counts), S candidates, which are the records
with another in their bucket or in a near one, G groups of candidates with an equal thumbnail in one bucket, P pairs of
buckets or of groups, C of those at once, K pixels of a thumbnail, W words of 64 bits in it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmkd.images.hamming import Array, near
from mmkd.images.thumbnails import ReadThumbnails, correlation
from mmkd.randomness import Purpose, generator

NONE = -1  # no group, or no record
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: keeps captions apart when they are mixed with hashes
CHUNK = 2**14  # thumbnails in memory at once


class Pairs(NamedTuple):
    """Two buckets or groups each (P,), in order; bits between their hashes; their correlation, 0 if not computed."""

    one_P: Array
    other_P: Array
    distance_P: Array
    correlation_P: Array


class Original(NamedTuple):
    """The record that a picture repeats. distance: bits of the hash. correlation: 0..1, 0 where it is not computed."""

    record: int
    distance: int
    correlation: float


class Neighbours(NamedTuple):
    """Groups of records and their neighbours, each group its own too. group_N: NONE for a record without neighbour.

    start_G1: where a group's neighbours begin among other_P.
    """

    group_N: Array
    start_G1: Array
    other_P: Array
    distance_P: Array
    correlation_P: Array

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.start_G1) - 1

    def has_neighbour(self) -> Array:
        """Which records have another record near, bool (N,)."""
        own_N = self.group_N[self.group_N != NONE]
        single_G = (np.diff(self.start_G1) == 1) & (np.bincount(own_N, minlength=self.groups) == 1)
        found_N = np.zeros(len(self.group_N), bool)
        found_N[self.group_N != NONE] = ~single_G[own_N]
        return found_N

    def original(self, record: int, kept_G: Array) -> Original | None:
        """The kept record near this one that correlates best with it, of those the nearest, the first.

        record: one that has a neighbour. kept_G: the kept record of each group, NONE where none is kept yet.
        """
        group = self.group_N[record]
        span = slice(self.start_G1[group], self.start_G1[group + 1])
        kept_P = kept_G[self.other_P[span]]
        found = [
            (-correlated, distance, place)
            for correlated, distance, place in zip(self.correlation_P[span], self.distance_P[span], kept_P, strict=True)
            if place != NONE
        ]
        if not found:
            return None
        negative, distance, place = min(found)
        return Original(int(place), int(distance), float(-negative))


def neighbours(
    hash_N: Array, caption_N: Array, radius: int, min_correlation: float, thumbnails: ReadThumbnails
) -> Neighbours:
    """Records near each other, among those of equal caption_N. thumbnails: called once, for the candidates, if
    min_correlation is not 0.

    Hashes are looked up by buckets and thumbnails compared by groups, so equal pictures are not compared pairwise. Time
    grows with the number of near pairs of different thumbnails. Raises ValueError as `near` does.
    """
    _, first_H, bucket_N = np.unique(hash_N ^ caption_N * SPREAD, return_index=True, return_inverse=True)
    pairs = _near_buckets(hash_N[first_H], caption_N[first_H], radius)
    if min_correlation == 0:
        return _both_ways(bucket_N, len(first_H), pairs, 0.0)
    single_H = np.bincount(bucket_N, minlength=len(first_H)) == 1
    single_H[pairs.one_P] = single_H[pairs.other_P] = False
    record_S = np.flatnonzero(~single_H[bucket_N])
    thumbnail_SK = thumbnails(record_S)
    group_S, first_G = _equal_in(bucket_N[record_S], thumbnail_SK)
    start_H1 = np.searchsorted(bucket_N[record_S][first_G], np.arange(len(first_H) + 1))
    confirmed = list(_confirmed(pairs, start_H1, lambda group_P: thumbnail_SK[first_G[group_P]], min_correlation))
    group_N = np.full(len(hash_N), NONE)
    group_N[record_S] = group_S
    return _both_ways(group_N, len(first_G), _joined(confirmed), 1.0)


def _near_buckets(hash_H: Array, caption_H: Array, radius: int) -> Pairs:
    _, caption_H, times_H = np.unique(caption_H, return_inverse=True, return_counts=True)
    # a caption that only one bucket has makes no pair: most captions of articles are such
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


def _equal_in(bucket_S: Array, thumbnail_SK: Array) -> tuple[Array, Array]:
    """Group of each candidate (S,), and the first candidate of each (G,); the groups of a bucket stand together."""
    rng = generator(0, Purpose.BLOCK_HASH)
    weight_W = rng.integers(0, 2**64, thumbnail_SK.shape[1] // 8, np.uint64) | np.uint64(1)
    key_S = np.zeros(len(bucket_S), np.uint64)  # equal for equal thumbnails, and by chance once in 2**60
    for first in range(0, len(bucket_S), CHUNK):
        chunk = slice(first, first + CHUNK)
        word_CW = np.ascontiguousarray(thumbnail_SK[chunk]).view(np.uint64)
        key_S[chunk] = (word_CW * weight_W).sum(axis=1, dtype=np.uint64)
    order_S = np.lexsort((key_S, bucket_S))
    sorted_S2 = np.stack([bucket_S[order_S].astype(np.uint64), key_S[order_S]], axis=1)
    begins_S = np.ones(len(bucket_S), bool)
    begins_S[1:] = (sorted_S2[1:] != sorted_S2[:-1]).any(axis=1)
    group_S = np.empty(len(bucket_S), np.int64)
    group_S[order_S] = np.cumsum(begins_S) - 1
    return group_S, order_S[begins_S]


def _confirmed(pairs: Pairs, start_H1: Array, thumbnails: ReadThumbnails, min_correlation: float) -> Iterator[Pairs]:
    """Pairs of groups that correlate enough, between near buckets and within each bucket."""
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
        correlation_C = correlation(thumbnails(a_C), thumbnails(b_C))
        enough_C = correlation_C >= min_correlation
        found = a_C[enough_C], b_C[enough_C], distance_P[pair_C[enough_C]], correlation_C[enough_C]
        yield Pairs(*found)


def _both_ways(group_N: Array, groups: int, pairs: Pairs, own: float) -> Neighbours:
    """own: the correlation of a group to itself."""
    own_G = np.arange(groups)
    one_P = np.concatenate([pairs.one_P, pairs.other_P, own_G])
    other_P = np.concatenate([pairs.other_P, pairs.one_P, own_G])
    distance_P = np.concatenate([pairs.distance_P, pairs.distance_P, np.zeros(groups, np.int8)])
    correlation_P = np.concatenate([pairs.correlation_P, pairs.correlation_P, np.full(groups, own)])
    order_P = np.argsort(one_P, kind="stable")
    start_G1 = np.searchsorted(one_P[order_P], np.arange(groups + 1))
    return Neighbours(group_N, start_G1, other_P[order_P], distance_P[order_P], correlation_P[order_P])
