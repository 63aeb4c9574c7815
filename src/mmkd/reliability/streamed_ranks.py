"""Ranks of many pairs, read in blocks and compared with the same sample of keys; few pairs are ranked as elsewhere.

With rivals drawn anew for each pair, all vectors have to be in memory. Of more than MANY pairs, KEYS are drawn once,
and each pair's own key is compared with all of them: one product of matrices a block. The share that it beats differs
from the share of all pairs' keys by 0.016 or less (one standard deviation).
Letters: N pairs, B of a block, S keys of the sample, D dimension, P pairs of a query and a key.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.posterior import null_ranks, other_captions, ranks_among
from mmkd.reliability.rank_test import ROUNDING, rank_gate

MANY = 2**16  # pairs, from which on they are read in blocks
KEYS = 1024
BLOCK = 2048  # pairs in memory at once
SUMMED = 2**13  # products that are summed again at once

Take = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Places of pairs (B,) -> their image and text vectors, (B, D) each."""


@dataclass(frozen=True)
class Keys:
    """place_S: which pairs they are of, ascending. key_SD: float32. longest: the greatest length."""

    place_S: np.ndarray
    key_SD: np.ndarray
    longest: float

    @classmethod
    def of(cls, place_S: np.ndarray, vector_SD: np.ndarray) -> "Keys":
        """From vectors of any kind of number."""
        key_SD = vector_SD.astype(np.float32)
        return cls(place_S, key_SD, float(np.linalg.norm(key_SD, axis=1).max()))

    def percentile(self, query_BD: np.ndarray, own_BD: np.ndarray, own_B: np.ndarray) -> np.ndarray:
        """The share of the keys, without the own one (pair own_B), that the own key beats (B,); ties count half."""
        query_BD, own_BD = query_BD.astype(np.float32), own_BD.astype(np.float32)
        own_B1 = np.einsum("bd,bd->b", query_BD, own_BD)[:, None]
        other_BS = query_BD @ self.key_SD.T
        doubt_B1 = ROUNDING * self.longest * np.linalg.norm(query_BD, axis=1)[:, None]
        less_BS = other_BS < own_B1 - doubt_B1
        beaten_B = np.count_nonzero(less_BS, axis=1).astype(np.float64)
        b_P, s_P = np.nonzero((other_BS <= own_B1 + doubt_B1) & ~less_BS)
        for first in range(0, len(b_P), SUMMED):  # summed in the order of the own product, so that equal keys are equal
            b, s = b_P[first : first + SUMMED], s_P[first : first + SUMMED]
            other = np.einsum("pd,pd->p", query_BD[b], self.key_SD[s])
            won = (other < own_B1[b, 0]) + 0.5 * (other == own_B1[b, 0])
            beaten_B += np.bincount(b, won, minlength=len(beaten_B))
        sampled_B = np.isin(own_B, self.place_S)  # and then ties with itself
        return np.asarray((beaten_B - 0.5 * sampled_B) / np.maximum(len(self.place_S) - sampled_B, 1))


def gate_of(take: Take, count: int, rivals: int, top: float, generator: np.random.Generator) -> np.ndarray:
    """`rank_gate` of pairs 0..count - 1 (N,) bool; of many, among KEYS captions in place of `rivals`."""
    if count <= MANY:
        return rank_gate(*take(np.arange(count)), rivals, top, generator)
    _, text = _sampled(take, count, generator)
    passed = [text.percentile(*take(place_B), place_B) > 1.0 - top for place_B in _blocks(count)]
    return np.concatenate(passed)


def null_ranks_of(take: Take, count: int, rivals: int, generator: np.random.Generator) -> np.ndarray:
    """`null_ranks` of pairs 0..count - 1 (N,); of many, among KEYS captions and images in place of `rivals`."""
    if count <= MANY:
        return null_ranks(*take(np.arange(count)), rivals, generator)
    other_N = other_captions(count, generator)
    image, text = _sampled(take, count, generator)
    own_N, drawn_N = np.empty(count), np.empty(count)
    for place_B in _blocks(count):
        image_BD, text_BD = take(place_B)
        drawn_BD, drawn_B = take(other_N[place_B])[1], other_N[place_B]
        own_N[place_B] = text.percentile(image_BD, text_BD, place_B) + image.percentile(text_BD, image_BD, place_B)
        drawn_N[place_B] = text.percentile(image_BD, drawn_BD, drawn_B) + image.percentile(drawn_BD, image_BD, place_B)
    return ranks_among(own_N / 2, drawn_N / 2)


def _sampled(take: Take, count: int, generator: np.random.Generator) -> tuple[Keys, Keys]:
    place_S = np.sort(generator.choice(count, min(KEYS, count), replace=False))
    image_SD, text_SD = take(place_S)
    return Keys.of(place_S, image_SD), Keys.of(place_S, text_SD)


def _blocks(count: int) -> Iterator[np.ndarray]:
    return (np.arange(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK))
