"""Hashes that differ in few bits, found without comparing all with all; Q queries, K keys, P pairs.

A dense run is a run of equal masked hashes with many queries and keys: q of those against k of these, at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BITS = 64
MAX_RADIUS = 15  # with bands of four bits: beyond, they hold everything and all would be compared with all
CHUNK_PAIRS = 2**20  # candidates held at once
DENSE = 2**12  # candidates of a run from which on a table of all of them is quicker than a list
TABLE_SIDE = 2**10  # queries, and keys, of a table
SORTING = 6  # what a key costs to be sorted and looked up, in comparisons of two hashes (measured)
MAX_MASKS = 200
AGREED = 2**12  # pairs that are compared with all earlier masks at once
SAMPLE = 2**10  # hashes whose agreement says how crowded they are
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: keeps codes apart when they are mixed with hashes

Possible = Callable[[Array, Array], Array]
"""Places of queries (q,) and of keys (k,) -> which pairs (q, k) may be wanted, bool."""


@dataclass(frozen=True)
class Pairs:
    """Places of queries and keys whose hashes are near; each (P,), those of `within` by query, then key. distance_P:
    bits that differ."""

    query_P: Array
    key_P: Array
    distance_P: Array

    def at(self, place_P: Array) -> "Pairs":
        """Some of them."""
        return Pairs(self.query_P[place_P], self.key_P[place_P], self.distance_P[place_P])


@dataclass(frozen=True)
class Hashes:
    """64-bit hashes (N,), uint64. code_N: uint64; only hashes of equal codes are compared; None compares all."""

    hash_N: Array
    code_N: Array | None = None

    def __len__(self) -> int:
        return len(self.hash_N)

    def masked(self, mask: np.uint64) -> Array:
        """Equal for two that agree in the mask and have one code, and by chance for few others (N,)."""
        masked_N: Array = self.hash_N & mask
        return masked_N if self.code_N is None else masked_N ^ self.code_N * MIX

    def at(self, place_P: Array) -> "Hashes":
        """Some of them."""
        return Hashes(self.hash_N[place_P], None if self.code_N is None else self.code_N[place_P])


def within(query_Q: Array, key_K: Array, radius: int) -> Pairs:
    """All pairs of 64-bit hashes with a Hamming distance of at most `radius`. Raises ValueError as `near` does."""
    query_Q, key_K = np.asarray(query_Q, np.uint64), np.asarray(key_K, np.uint64)
    found = [np.empty(0, np.int64)]
    found += [pairs.query_P * len(key_K) + pairs.key_P for pairs in near(Hashes(query_Q), Hashes(key_K), radius)]
    query_P, key_P = np.divmod(np.sort(np.concatenate(found)), max(1, len(key_K)))
    return Pairs(query_P, key_P, np.bitwise_count(query_Q[query_P] ^ key_K[key_P]).astype(np.int64))


def near(query: Hashes, key: Hashes, radius: int, possible: Possible | None = None) -> Iterator[Pairs]:
    """The pairs of `within`, each once and in no order, a bounded number at a time.

    Every such pair agrees in all bits of one of the `masks`, so only those that do are compared. possible: what else
    a pair needs, asked where many agree; pairs without it may be left out. Raises ValueError for a radius that is not
    0..15.
    """
    chosen = masks(radius, len(query), len(key), crowding(query, key))

    def near_in_table(query_q: Array, key_k: Array) -> Array:
        bits_qk = np.bitwise_count(query.hash_N[query_q, None] ^ key.hash_N[key_k])
        near_qk: Array = bits_qk <= radius
        return near_qk

    for place, mask in enumerate(chosen):
        for query_P, key_P in candidates(query.masked(mask), key.masked(mask), possible or near_in_table):
            differing_P = query.hash_N[query_P] ^ key.hash_N[key_P]
            bits_P = np.bitwise_count(differing_P)
            new_P = bits_P <= radius
            if query.code_N is not None and key.code_N is not None:
                new_P &= query.code_N[query_P] == key.code_N[key_P]
            found = np.flatnonzero(new_P)
            # a pair is reported once, by the first mask in which it agrees
            found = found[_agree_in_none(differing_P[found], chosen[:place])]
            yield Pairs(query_P[found], key_P[found], bits_P[found])


def _agree_in_none(differing_P: Array, earlier: list[np.uint64]) -> Array:
    masks_M = np.array(earlier, np.uint64)
    none_P = np.ones(len(differing_P), bool)
    for first in range(0, len(differing_P), AGREED):
        part = slice(first, first + AGREED)
        none_P[part] = (differing_P[part, None] & masks_M).all(axis=1)
    return none_P


def crowding(query: Hashes, key: Hashes) -> Callable[[np.uint64], float]:
    """How many pairs of a query and a key agree in a mask, by an evenly spaced sample of both."""

    def sample(hashes: Hashes) -> Hashes:
        return hashes.at(np.linspace(0, len(hashes) - 1, min(len(hashes), SAMPLE)).astype(int))

    query_of, key_of = sample(query), sample(key)
    same = query is key and len(query) > SAMPLE  # a hash agrees with itself, which says nothing of others

    def agreeing(mask: np.uint64) -> float:
        query_Q, key_K = query_of.masked(mask), np.sort(key_of.masked(mask))
        pairs = (np.searchsorted(key_K, query_Q, "right") - np.searchsorted(key_K, query_Q, "left")).sum()
        sampled = len(query_Q) * len(key_K)
        return float(pairs - same * len(query_Q)) / sampled * len(query) * len(key) if sampled else 0.0

    return agreeing


def masks(
    radius: int, queries: int, keys: int, agreeing_pairs: Callable[[np.uint64], float] | None = None
) -> list[np.uint64]:
    """Sets of bits of which two hashes that differ in at most `radius` bits agree in one.

    The bits are cut into radius + c bands; as many differences leave c bands untouched (the pigeonhole principle). With
    c = 1 a mask is a band (Norouzi, Punjani and Fleet, CVPR 2012); with larger c there are more masks and each lets
    fewer pairs through, which pays for many hashes (Manku, Jain and Das Sarma, WWW 2007). The c that costs least is
    taken: if the bits of hashes were coin flips, or with what `agreeing_pairs` says of the first, the middle and the
    last mask, where that is more. Raises ValueError for a radius that is not 0..15.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise ValueError(f"radius is {radius}; expected 0..{MAX_RADIUS}")

    def cost(chosen: list[np.uint64], agreeing: int) -> float:
        let_through = queries * keys / 2.0 ** (BITS * agreeing / (radius + agreeing))
        if agreeing_pairs is not None:
            probed = [chosen[0], chosen[len(chosen) // 2], chosen[-1]]
            let_through = max(let_through, sum(map(agreeing_pairs, probed)) / len(probed))
        costs: float = len(chosen) * (SORTING * (queries + keys) + let_through)
        return costs

    choices = [c for c in range(1, BITS) if comb(radius + c, c) <= MAX_MASKS and radius + c <= BITS]
    sets = {c: _masks_of(radius, c) for c in choices}
    return sets[min(choices, key=lambda c: cost(sets[c], c))]


@cache
def _masks_of(radius: int, agreeing: int) -> list[np.uint64]:
    whole = [np.uint64((2**width - 1) << shift) for shift, width in bands(radius + agreeing)]
    return [np.bitwise_or.reduce(np.array(chosen)) for chosen in combinations(whole, agreeing)]


def bands(count: int) -> list[tuple[int, int]]:
    """Shift and width of `count` bands that cover all bits once; widths differ by at most one."""
    edges = [BITS * number // count for number in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def candidates(query_Q: Array, key_K: Array, possible: Possible) -> Iterator[tuple[Array, Array]]:
    """Places of equal queries and keys, a bounded number at a time; of dense runs, those that are possible."""
    order_Q, order_K = np.argsort(query_Q, kind="stable"), np.argsort(key_K, kind="stable")
    sorted_Q, sorted_K = query_Q[order_Q], key_K[order_K]  # queries too: neighbours are then looked up in one place
    first_Q = np.searchsorted(sorted_K, sorted_Q, side="left")
    count_Q = np.searchsorted(sorted_K, sorted_Q, side="right") - first_Q
    begins = np.flatnonzero(np.concatenate([[True], sorted_Q[1:] != sorted_Q[:-1]])[: len(sorted_Q)])
    sizes = np.diff(np.append(begins, len(sorted_Q)))
    for run in np.flatnonzero(sizes * count_Q[begins] >= DENSE).tolist():
        start, stop = int(begins[run]), int(begins[run] + sizes[run])
        keys = order_K[first_Q[start] : first_Q[start] + count_Q[start]]
        yield from _possible_of(order_Q[start:stop], keys, possible)
        count_Q[start:stop] = 0
    yield from _listed(order_Q, order_K, first_Q, count_Q)


def _possible_of(query_q: Array, key_k: Array, possible: Possible) -> Iterator[tuple[Array, Array]]:
    for first in range(0, len(query_q), TABLE_SIDE):
        for start in range(0, len(key_k), TABLE_SIDE):
            some_q, some_k = query_q[first : first + TABLE_SIDE], key_k[start : start + TABLE_SIDE]
            found = np.flatnonzero(possible(some_q, some_k))  # quicker than for two dimensions
            one_P, other_P = np.divmod(found, len(some_k))
            yield some_q[one_P], some_k[other_P]


def _listed(order_Q: Array, order_K: Array, first_Q: Array, count_Q: Array) -> Iterator[tuple[Array, Array]]:
    wanted = np.flatnonzero(count_Q)
    order_Q, first_Q, count_Q = order_Q[wanted], first_Q[wanted], count_Q[wanted]
    ends_Q = np.cumsum(count_Q)
    start = 0
    while start < len(order_Q):
        before = ends_Q[start - 1] if start else 0
        # at least one query, however many keys are equal to it
        stop = max(start + 1, int(np.searchsorted(ends_Q, before + CHUNK_PAIRS, side="right")))
        counts = count_Q[start:stop]
        query_P = np.repeat(np.arange(start, stop), counts)
        within_P = np.arange(len(query_P)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield order_Q[query_P], order_K[np.repeat(first_Q[start:stop], counts) + within_P]
        start = stop
