"""Near-duplicate search: pairs of pictures with near hashes, confirmed by the correlation of their thumbnails.

N records, S candidates, which are the records with another hash near (of equal caption, where that counts), Q and K
some of the records, P pairs of them, C of those at once, q and k candidates of a dense run of hashes; X pixels of a
thumbnail, Y numbers of its sketch.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmkd.images.hamming import Array, Hashes, Possible, near
from mmkd.images.having_near import having_near
from mmkd.images.thumbnails import THUMBNAIL_SIDE, ReadThumbnails, correlation

CHUNK = 2**14  # thumbnails in memory at once
SQUARE = 4  # pixels: a sketch has the means of squares of this side
SLACK = 1e-4  # of a bound on sketches, which are float32: far above its rounding


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
        for found in near(self._hashes.at(query_S), self._hashes.at(key_S), self.radius, possible):
            one_P, other_P, distance_P = query_S[found.query_P], key_S[found.key_P], found.distance_P
            different_P = one_P != other_P
            pairs = one_P[different_P], other_P[different_P], distance_P[different_P]
            yield from (
                self._confirmed(*pairs) if self.min_correlation else [self._named(*pairs, np.zeros(len(pairs[0])))]
            )

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

    def _confirmed(self, one_P: Array, other_P: Array, distance_P: Array) -> Iterator[Near]:
        apart_P = ((self._sketch_SY[one_P] - self._sketch_SY[other_P]) ** 2).sum(axis=1)
        left = np.flatnonzero(apart_P <= 2 * (1 - self.min_correlation + SLACK))
        for first in range(0, len(left), CHUNK):
            chunk_C = left[first : first + CHUNK]
            a_C, b_C, distance_C = one_P[chunk_C], other_P[chunk_C], distance_P[chunk_C]
            one_CX, other_CX = self._thumbnail_SX[a_C], self._thumbnail_SX[b_C]
            same_C = (distance_C == 0) & (one_CX == other_CX).all(axis=1)
            correlation_C = np.where(same_C, 1.0, correlation(one_CX, other_CX))
            enough_C = correlation_C >= self.min_correlation
            yield self._named(a_C[enough_C], b_C[enough_C], distance_C[enough_C], correlation_C[enough_C])


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
