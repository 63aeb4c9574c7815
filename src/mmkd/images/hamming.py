"""Hashes that differ in few bits, found without comparing all with all; Q queries, K keys, P pairs."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BITS = 64
MAX_RADIUS = 15  # with bands of four bits: beyond, they hold everything and all would be compared with all
CHUNK_PAIRS = 2**22  # candidates held at once
SORTING = 6  # what a key costs to be sorted and looked up, in comparisons of two hashes (measured)
MAX_MASKS = 200


@dataclass(frozen=True)
class Pairs:
    """Places of queries and keys whose hashes are near; each (P,), those of `within` by query, then key. distance_P:
    bits that differ."""

    query_P: Array
    key_P: Array
    distance_P: Array


def within(query_Q: Array, key_K: Array, radius: int) -> Pairs:
    """All pairs of 64-bit hashes with a Hamming distance of at most `radius`. Raises ValueError as `near` does."""
    query_Q, key_K = np.asarray(query_Q, np.uint64), np.asarray(key_K, np.uint64)
    found = [np.empty(0, np.int64)]
    found += [pairs.query_P * len(key_K) + pairs.key_P for pairs in near(query_Q, key_K, radius)]
    query_P, key_P = np.divmod(np.sort(np.concatenate(found)), max(1, len(key_K)))
    return Pairs(query_P, key_P, np.bitwise_count(query_Q[query_P] ^ key_K[key_P]).astype(np.int64))


def near(query_Q: Array, key_K: Array, radius: int) -> Iterator[Pairs]:
    """The pairs of `within`, each once and in no order, a bounded number at a time; hashes are uint64.

    Every such pair agrees in all bits of one of the `masks`, so only those that do are compared. Raises ValueError for
    a radius that is not 0..15.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius}; expected 0..{MAX_RADIUS}")
    chosen = masks(radius, len(query_Q), len(key_K))
    for place, mask in enumerate(chosen):
        for query_P, key_P in _candidates(query_Q & mask, key_K & mask):
            differing_P = query_Q[query_P] ^ key_K[key_P]
            bits_P = np.bitwise_count(differing_P)
            new_P = bits_P <= radius
            for earlier in chosen[:place]:  # a pair is reported once, by the first mask in which it agrees
                new_P[new_P] = (differing_P[new_P] & earlier) != 0
            yield Pairs(query_P[new_P], key_P[new_P], bits_P[new_P])


def masks(radius: int, queries: int, keys: int) -> list[np.uint64]:
    """Sets of bits of which two hashes that differ in at most `radius` bits agree in one.

    The bits are cut into radius + c bands; as many differences leave c bands untouched (the pigeonhole principle). With
    c = 1 a mask is a band (Norouzi, Punjani and Fleet, CVPR 2012); with larger c there are more masks and each lets
    fewer pairs through, which pays for many hashes (Manku, Jain and Das Sarma, WWW 2007). The c that costs least is
    taken, if the bits of hashes were coin flips.
    """

    def cost(agreeing: int) -> float:
        let_through: float = queries * keys / 2.0 ** (BITS * agreeing / (radius + agreeing))
        return comb(radius + agreeing, agreeing) * (SORTING * (queries + keys) + let_through)

    choices = [c for c in range(1, BITS) if comb(radius + c, c) <= MAX_MASKS and radius + c <= BITS]
    agreeing = min(choices, key=cost)
    whole = [np.uint64((2**width - 1) << shift) for shift, width in bands(radius + agreeing)]
    return [np.bitwise_or.reduce(np.array(chosen)) for chosen in combinations(whole, agreeing)]


def bands(count: int) -> list[tuple[int, int]]:
    """Shift and width of `count` bands that cover all bits once; widths differ by at most one."""
    edges = [BITS * number // count for number in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _candidates(query_Q: Array, key_K: Array) -> Iterator[tuple[Array, Array]]:
    """Places of equal queries and keys, a bounded number at a time."""
    order_Q, order_K = np.argsort(query_Q, kind="stable"), np.argsort(key_K, kind="stable")
    sorted_Q, sorted_K = query_Q[order_Q], key_K[order_K]  # queries too: neighbours are then looked up in one place
    first_Q = np.searchsorted(sorted_K, sorted_Q, side="left")
    count_Q = np.searchsorted(sorted_K, sorted_Q, side="right") - first_Q
    ends_Q = np.cumsum(count_Q)
    start = 0
    while start < len(query_Q):
        before = ends_Q[start - 1] if start else 0
        # at least one query, however many keys are equal to it
        stop = max(start + 1, int(np.searchsorted(ends_Q, before + CHUNK_PAIRS, side="right")))
        counts = count_Q[start:stop]
        query_P = np.repeat(np.arange(start, stop), counts)
        within_P = np.arange(len(query_P)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield order_Q[query_P], order_K[np.repeat(first_Q[start:stop], counts) + within_P]
        start = stop
