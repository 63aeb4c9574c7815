"""Hashes that differ in few bits, found without comparing all with all; Q queries, K keys, P pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmkd.evaluation.statistics.metrics import Array

BITS = 64
MAX_RADIUS = 15  # bands of four bits: beyond, they hold everything and all would be compared with all
CHUNK_PAIRS = 2**22  # candidates held at once


@dataclass(frozen=True)
class Pairs:
    """Places of queries and keys whose hashes are near, by query, then key; each (P,). distance_P: bits that differ."""

    query_P: Array
    key_P: Array
    distance_P: Array


def within(query_Q: Array, key_K: Array, radius: int) -> Pairs:
    """All pairs of 64-bit hashes with a Hamming distance of at most `radius`.

    The bits are cut into radius + 1 bands. As many differences cannot touch all bands, so every such pair agrees in one
    band: only those that do are compared (the pigeonhole principle; Norouzi, Punjani and Fleet, CVPR 2012). Raises
    ValueError for a radius that is not 0..15.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius}; expected 0..{MAX_RADIUS}")
    query_Q, key_K = np.asarray(query_Q, np.uint64), np.asarray(key_K, np.uint64)
    found = [np.empty((0, 2), np.int64)]
    for shift, width in bands(radius + 1):
        for query_P, key_P in _candidates(_band(query_Q, shift, width), _band(key_K, shift, width)):
            near_P = np.bitwise_count(query_Q[query_P] ^ key_K[key_P]) <= radius
            found.append(np.stack([query_P[near_P], key_P[near_P]], axis=1))
    pair_P2 = np.unique(np.concatenate(found), axis=0)
    query_P, key_P = pair_P2.T
    return Pairs(query_P, key_P, np.bitwise_count(query_Q[query_P] ^ key_K[key_P]).astype(np.int64))


def bands(count: int) -> list[tuple[int, int]]:
    """Shift and width of `count` bands that cover all bits once; widths differ by at most one."""
    edges = [BITS * number // count for number in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _band(hash_N: Array, shift: int, width: int) -> Array:
    mask = np.uint64(2**width - 1)
    part_N: Array = (hash_N >> np.uint64(shift)) & mask
    return part_N


def _candidates(query_Q: Array, key_K: Array) -> Iterator[tuple[Array, Array]]:
    """Places of equal queries and keys, a bounded number at a time."""
    order_K = np.argsort(key_K, kind="stable")
    sorted_K = key_K[order_K]
    first_Q = np.searchsorted(sorted_K, query_Q, side="left")
    count_Q = np.searchsorted(sorted_K, query_Q, side="right") - first_Q
    ends_Q = np.cumsum(count_Q)
    start = 0
    while start < len(query_Q):
        before = ends_Q[start - 1] if start else 0
        # at least one query, however many keys are equal to it
        stop = max(start + 1, int(np.searchsorted(ends_Q, before + CHUNK_PAIRS, side="right")))
        counts = count_Q[start:stop]
        query_P = np.repeat(np.arange(start, stop), counts)
        within_P = np.arange(len(query_P)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield query_P, order_K[np.repeat(first_Q[start:stop], counts) + within_P]
        start = stop
