"""Near-duplicate search: pairs of pictures with near hashes, confirmed by the correlation of their thumbnails.

N records, S candidates, which are the records with another hash near (of equal caption, where that counts), Q and K
some of the records, P pairs of them, C of those at once, q and k candidates of a dense run of hashes; X pixels of a
thumbnail, Y numbers of its sketch.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from mmkd.images.hamming import Array, Hashes, Possible, near
from mmkd.images.having_near import having_near
from mmkd.images.thumbnails import THUMBNAIL_SIDE, ReadThumbnails, correlation

CHUNK = 2**14  # thumbnails in memory at once
SQUARE = 4  # pixels: a sketch has the means of squares of this side
SLACK = 1e-4  # of a bound on sketches, which are float32: far above its rounding


Columns = tuple[Array, Array, Array]
"""Pairs of candidates: places of one and of the other (P,), bits between their hashes (P,)."""


class Near(NamedTuple):
    """Pairs of records (P,). distance_P: bits between their hashes. correlation_P: 0..1, all 0 where it is not
    computed."""

    query_P: Array
    key_P: Array
    distance_P: Array
    correlation_P: Array


class NearPictures:
    """Looks up which pictures are near each other. has_near_N: whether a record's hash has another near, bool (N,)."""

    def __init__(
        self, hash_N: Array, caption_N: Array | None, radius: int, min_correlation: float, thumbnails: ReadThumbnails
    ) -> None:
        """caption_N: only records of equal numbers are near; None compares all. thumbnails: called once, for the
        candidates, if min_correlation is not 0. Raises ValueError as `near` does.
        """
        hashes = Hashes(hash_N, caption_N)
        self.radius, self.min_correlation = radius, min_correlation
        self.has_near_N = having_near(hashes, radius)
        self._record_S = np.flatnonzero(self.has_near_N)
        self._hashes = hashes.at(self._record_S)
        if min_correlation:
            self._thumbnail_SX = thumbnails(self._record_S)
            self._sketch_SY = sketches(self._thumbnail_SX)

    def pairs(self, query_Q: Array, key_K: Array) -> Iterator[Near]:
        """The near pairs of two lists of records that have another near, each once, a bounded number at a time.

        Memory grows with the lists, not with the number of pairs. Time grows with the pairs of near hashes, which are
        compared by their sketches first.
        """
        query_S, key_S = np.searchsorted(self._record_S, query_Q), np.searchsorted(self._record_S, key_K)
        possible = self._possible(query_S, key_S) if self.min_correlation else None
        apart = (
            found.at(np.flatnonzero(query_S[found.query_P] != key_S[found.key_P]))
            for found in near(self._hashes.at(query_S), self._hashes.at(key_S), self.radius, possible)
        )
        named = ((query_S[found.query_P], key_S[found.key_P], found.distance_P) for found in apart)
        if self.min_correlation:
            yield from map(self._confirmed, _together(map(self._likely, named)))
        else:
            yield from (self._named(*pairs, np.zeros(len(pairs[0]))) for pairs in named)

    def _named(self, one_P: Array, other_P: Array, distance_P: Array, correlation_P: Array) -> Near:
        return Near(self._record_S[one_P], self._record_S[other_P], distance_P, correlation_P)

    def _possible(self, query_S: Array, key_S: Array) -> Possible:
        """A table of which pairs of a dense run have sketches that allow the correlation: one product of matrices."""
        query_QY, key_KY = self._sketch_SY[query_S], self._sketch_SY[key_S]
        query_Q1, key_K1 = ((one_RY**2).sum(axis=1, keepdims=True) / 2 for one_RY in (query_QY, key_KY))
        # their product with the transposed others: the dot product less half of both squared norms
        query_QY = np.concatenate([query_QY, -query_Q1, -np.ones_like(query_Q1)], axis=1)
        key_KY = np.concatenate([key_KY, np.ones_like(key_K1), key_K1], axis=1)
        least = np.float32(self.min_correlation - 1 - SLACK)

        def allowed(query_q: Array, key_k: Array) -> Array:
            allowed_qk: Array = query_QY[query_q] @ key_KY[key_k].T >= least
            return allowed_qk

        return allowed

    def _likely(self, pairs: Columns) -> Columns:
        """Those whose sketches allow the correlation."""
        one_P, other_P, distance_P = pairs
        differing_PY = self._sketch_SY[one_P] - self._sketch_SY[other_P]
        apart_P = np.einsum("py,py->p", differing_PY, differing_PY)
        left = np.flatnonzero(apart_P <= 2 * (1 - self.min_correlation + SLACK))
        return one_P[left], other_P[left], distance_P[left]

    def _confirmed(self, pairs: Columns) -> Near:
        one_C, other_C, distance_C = pairs
        one_CX, other_CX = self._thumbnail_SX[one_C], self._thumbnail_SX[other_C]
        correlation_C = correlation(one_CX, other_CX)
        doubtful = np.flatnonzero((distance_C == 0) & (correlation_C > 1 - SLACK))  # rounding hides that they are equal
        same = doubtful[(one_CX[doubtful] == other_CX[doubtful]).all(axis=1)]
        correlation_C[same] = 1.0
        enough = np.flatnonzero(correlation_C >= self.min_correlation)
        return self._named(one_C[enough], other_C[enough], distance_C[enough], correlation_C[enough])


def _together(found: Iterable[Columns]) -> Iterator[Columns]:
    """The same pairs, CHUNK at a time."""
    held, count = list[Columns](), 0
    for pairs in found:
        held.append(pairs)
        count += len(pairs[0])
        if count >= CHUNK:
            *whole, rest = _cut(held)
            yield from whole
            held, count = [rest], len(rest[0])
    yield from _cut(held) if held else ()


def _cut(held: list[Columns]) -> list[Columns]:
    """In pieces of CHUNK pairs; the last is shorter, it may be empty."""
    one_P, other_P, distance_P = (np.concatenate(column) for column in zip(*held, strict=True))
    starts = range(0, len(one_P) + 1, CHUNK)
    return [(one_P[s : s + CHUNK], other_P[s : s + CHUNK], distance_P[s : s + CHUNK]) for s in starts]


def sketches(thumbnail_SX: Array) -> Array:
    """Means of squares of each thumbnail, of mean 0 and norm 1 before, float32 (S, Y); 0 for a flat one.

    The squared distance of two unit vectors with correlation c is 2 - 2 c, and this projection, which is orthogonal,
    makes no distance longer: where sketches are further apart than that, the correlation is below c.
    """
    side = THUMBNAIL_SIDE // SQUARE
    sketch_SY = np.empty((len(thumbnail_SX), side * side), np.float32)
    for first in range(0, len(thumbnail_SX), CHUNK):
        chunk = slice(first, first + CHUNK)
        centred_CX = thumbnail_SX[chunk].astype(np.float32)
        centred_CX -= centred_CX.mean(axis=1, keepdims=True)
        norm_C1 = np.sqrt(np.einsum("cx,cx->c", centred_CX, centred_CX))[:, None]
        summed_CY = centred_CX.reshape(-1, side, SQUARE, side, SQUARE).sum(axis=(2, 4)).reshape(len(norm_C1), -1)
        sketch_SY[chunk] = summed_CY / SQUARE / np.where(norm_C1 > SLACK, norm_C1, 1.0)
    return sketch_SY
