"""Which earlier picture a picture repeats: hashes that are near, and looks that are alike.

N records, G groups of records with an equal hash (and caption, where that counts), P pairs of groups, S suspects, which
are the records with another one near, C kept ones of those, K pixels of a look.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mmkd.corpus.hamming import Array, within
from mmkd.corpus.likeness import Looks, likeness
from mmkd.corpus.settings import DuplicateSettings

SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: keeps captions apart when they are mixed with hashes


class Copied(NamedTuple):
    """Of which record a picture is a copy. likeness: 0..1, 0 where it was not asked for. distance: bits of the hash."""

    record: int
    distance: int
    likeness: float


@dataclass(frozen=True)
class Neighbours:
    """Groups of equal hashes and the groups near them, each also near itself. group_N: that of each record. start_G1:
    where a group's neighbours begin among other_P."""

    group_N: Array
    start_G1: Array
    other_P: Array
    distance_P: Array

    def touched(self) -> Array:
        """Which records have another record near, bool (N,)."""
        groups = len(self.start_G1) - 1
        lonely_G = (np.diff(self.start_G1) == 1) & (np.bincount(self.group_N, minlength=groups) == 1)
        touched_N: Array = ~lonely_G[self.group_N]
        return touched_N


class NearPictures:
    """The pictures that are kept so far, to be asked about each record in turn.

    hash_N: perceptual hashes. caption_N: what tells captions apart. looks: called once, with the suspects, if
    `settings.likeness` asks for looks at all. `suspect_N` is whether a record has another one near; the rest need not
    be asked about. Memory is one hash, caption and group a record, and the kept suspects' places.
    """

    def __init__(self, hash_N: Array, caption_N: Array, settings: DuplicateSettings, looks: Looks) -> None:
        self._near = neighbours(hash_N, caption_N if settings.near == "pair" else None, settings.radius)
        self._least = settings.likeness
        self.suspect_N = self._near.touched()
        self._record_S = np.flatnonzero(self.suspect_N)
        self._look_SK = looks(self._record_S) if self._least > 0 else None
        self._kept: dict[int, list[int]] = {}  # group -> places among the suspects

    def copied(self, record: int) -> Copied | None:
        """The kept picture that this one repeats, if any: the most alike, the nearest of those, the first."""
        near, group = self._near, self._near.group_N[record]
        span = slice(near.start_G1[group], near.start_G1[group + 1])
        held = [
            (distance, place)
            for other, distance in zip(near.other_P[span].tolist(), near.distance_P[span].tolist(), strict=True)
            for place in self._kept.get(other, ())
        ]
        if not held:
            return None
        alike_C = self._alike(record, np.array([place for _, place in held]))
        found = [
            (-alike, distance, place)
            for alike, (distance, place) in zip(alike_C.tolist(), held, strict=True)
            if alike >= self._least
        ]
        if not found:
            return None
        less, distance, place = min(found)
        return Copied(int(self._record_S[place]), distance, -less)

    def keep(self, record: int) -> None:
        """From now on this suspect is kept."""
        self._kept.setdefault(int(self._near.group_N[record]), []).append(self._place(record))

    def _alike(self, record: int, place_C: Array) -> Array:
        if self._look_SK is None:
            return np.zeros(len(place_C))
        look_CK = self._look_SK[place_C]
        return likeness(np.broadcast_to(self._look_SK[self._place(record)], look_CK.shape), look_CK)

    def _place(self, record: int) -> int:
        return int(np.searchsorted(self._record_S, record))


def neighbours(hash_N: Array, caption_N: Array | None, radius: int) -> Neighbours:
    """Groups within `radius` bits of each other; without `caption_N` whatever their captions."""
    caption_N = np.zeros_like(hash_N) if caption_N is None else caption_N
    _, first_G, group_N = np.unique(hash_N ^ caption_N * SPREAD, return_index=True, return_inverse=True)
    hash_G = hash_N[first_G]
    _, caption_G, times_G = np.unique(caption_N[first_G], return_inverse=True, return_counts=True)
    # a caption that one group alone has makes no pair: most captions of articles are such
    shared_S = np.flatnonzero(times_G[caption_G] > 1)
    pairs = within(hash_G[shared_S], hash_G[shared_S], radius)
    query_P, key_P = shared_S[pairs.query_P], shared_S[pairs.key_P]
    near_P = (caption_G[query_P] == caption_G[key_P]) & (query_P != key_P)
    own_G = np.arange(len(first_G))
    query_P, other_P = np.concatenate([query_P[near_P], own_G]), np.concatenate([key_P[near_P], own_G])
    distance_P = np.concatenate([pairs.distance_P[near_P], np.zeros_like(own_G)])
    order_P = np.argsort(query_P, kind="stable")
    start_G1 = np.searchsorted(query_P[order_P], np.arange(len(first_G) + 1))
    return Neighbours(group_N, start_G1, other_P[order_P], distance_P[order_P])
