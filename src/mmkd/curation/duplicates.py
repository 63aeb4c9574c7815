"""Which records of a corpus repeat an earlier one that is kept: by id, by bytes and caption, or by a near picture.

N records, R those of them that are looked at together, P pairs.
"""

from dataclasses import dataclass

import numpy as np

from mmkd.curation.settings.curate import DuplicateSettings
from mmkd.images.hamming import Array
from mmkd.images.near_duplicates import Near, NearPictures
from mmkd.images.thumbnails import ReadThumbnails
from mmkd.reasons import Reason

NONE = -1  # no record
REASONS = (Reason.DUPLICATE_ID, Reason.DUPLICATE_PAIR, Reason.NEAR_DUPLICATE)
TOGETHER = 2**12  # records whose near pairs are all held


@dataclass(frozen=True)
class Keys:
    """What identifies records, uint64 (N,): id, image bytes with caption, perceptual hash, caption.

    The last two are empty where near pictures are not looked for.
    """

    id_N: Array
    pair_N: Array
    hash_N: Array
    caption_N: Array


@dataclass(frozen=True)
class Duplicates:
    """partner_N: the place of the earlier record that is kept instead, NONE (-1) for a record to keep.

    reason_N: place in REASONS. For NEAR_DUPLICATE the partner is the kept one whose picture correlates best, of those
    the nearest, of those the first; distance_N: bits of the hash; correlation_N: 0..1, 0 where it is not computed.
    """

    partner_N: Array
    reason_N: Array
    distance_N: Array
    correlation_N: Array


def find_duplicates(
    keys: Keys, settings: DuplicateSettings, rejected_N: Array, thumbnails: ReadThumbnails
) -> Duplicates:
    """Goes through the records in order; what repeats a record that is kept is a duplicate.

    An id may be kept once, and so may a pair of image bytes and cleaned caption; `settings` say the same of near
    pictures. rejected_N: records that are rejected for another reason, and so make no later one a duplicate.
    """
    return _Walk(keys, rejected_N, _near(keys, settings, thumbnails)).found()


def _near(keys: Keys, settings: DuplicateSettings, thumbnails: ReadThumbnails) -> NearPictures | None:
    """The near duplicates, with equal captions only or whatever the captions, as the settings say; None to keep all."""
    if settings.near == "keep":
        return None
    caption_N = keys.caption_N if settings.near == "pair" else None
    return NearPictures(keys.hash_N, caption_N, settings.radius, settings.correlation, thumbnails)


class _Walk:
    """The records in order, in halves of halves, so that pictures are compared only with earlier ones that are kept.

    First the first half is walked; then what repeats a picture that was kept in it is marked; then the second half is
    walked, in which the marked ones are compared with none. So many records that are all near each other cost little
    more than one of them.
    """

    def __init__(self, keys: Keys, rejected_N: Array, near: NearPictures | None) -> None:
        count = len(keys.id_N)
        self.near = near
        self.has_near_N = np.zeros(count, bool) if near is None else near.has_near_N & ~rejected_N
        self.kept_N, self.repeats_N = np.zeros(count, bool), np.zeros(count, bool)  # repeats: a picture that is kept
        self.partner_N, self.reason_N = np.full(count, NONE), np.zeros(count, np.int8)
        self.groups = [_numbered(keys.id_N), _numbered(keys.pair_N)]
        self.holders = [np.full(int(group_N.max(initial=-1)) + 1, NONE) for group_N in self.groups]
        candidate_N = self.has_near_N | _shared(self.groups[0]) | _shared(self.groups[1])
        self.places = np.flatnonzero(candidate_N & ~rejected_N)

    def found(self) -> Duplicates:
        self._walk(self.places)
        count = len(self.partner_N)
        distance_N, correlation_N = np.zeros(count, np.int8), np.zeros(count, np.float32)
        repeats = np.flatnonzero(self.repeats_N & (self.partner_N == NONE))
        if self.near is not None and len(repeats):
            best = _best(self.near, repeats, np.flatnonzero(self.kept_N & self.has_near_N))
            self.partner_N[repeats], distance_N[repeats], correlation_N[repeats] = best
            self.reason_N[repeats] = REASONS.index(Reason.NEAR_DUPLICATE)
        return Duplicates(self.partner_N, self.reason_N, distance_N, correlation_N)

    def _walk(self, place_R: Array) -> None:
        if len(place_R) <= TOGETHER:
            self._walk_together(place_R)
            return
        half = len(place_R) // 2
        self._walk(place_R[:half])
        self._mark(place_R[half:], place_R[:half])
        self._walk(place_R[half:])

    def _mark(self, later_R: Array, earlier_R: Array) -> None:
        if self.near is None:
            return
        asked = later_R[self.has_near_N[later_R] & ~self.repeats_N[later_R]]
        kept = earlier_R[self.has_near_N[earlier_R] & self.kept_N[earlier_R]]
        for pairs in self.near.pairs(asked, kept):
            self.repeats_N[pairs.query_P] = True

    def _walk_together(self, place_R: Array) -> None:
        start_R1, earlier_P = self._near_earlier(place_R)
        spans = zip(place_R.tolist(), start_R1[:-1].tolist(), start_R1[1:].tolist(), strict=True)
        for record, start, stop in spans:
            partners = [int(holder[group_N[record]]) for holder, group_N in zip(self.holders, self.groups, strict=True)]
            reason = next((place for place, partner in enumerate(partners) if partner != NONE), None)
            if reason is not None:
                self.partner_N[record], self.reason_N[record] = partners[reason], reason
                continue
            if self.repeats_N[record] or (stop > start and self.kept_N[earlier_P[start:stop]].any()):
                self.repeats_N[record] = True
                continue
            self.kept_N[record] = True
            for holder, group_N in zip(self.holders, self.groups, strict=True):
                holder[group_N[record]] = record

    def _near_earlier(self, place_R: Array) -> tuple[Array, Array]:
        """The earlier ones among the records with a near picture (P,), and where each record's begin (R + 1,)."""
        asked = place_R[self.has_near_N[place_R] & ~self.repeats_N[place_R]]
        later, earlier = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for pairs in self.near.pairs(asked, asked) if self.near is not None else ():
            wanted_P = pairs.key_P < pairs.query_P
            later.append(pairs.query_P[wanted_P])
            earlier.append(pairs.key_P[wanted_P])
        later_P, earlier_P = np.concatenate(later), np.concatenate(earlier)
        order_P = np.argsort(later_P, kind="stable")
        start_R = np.searchsorted(later_P[order_P], place_R)
        return np.append(start_R, len(order_P)), earlier_P[order_P]


def _best(near: NearPictures, query_Q: Array, key_K: Array) -> tuple[Array, Array, Array]:
    """Of the earlier near records of each query (Q,) the best: its place, the distance, the correlation."""
    place_Q, distance_Q, correlation_Q = (
        np.full(len(query_Q), NONE),
        np.zeros(len(query_Q), int),
        np.zeros(len(query_Q)),
    )
    for pairs in near.pairs(query_Q, key_K):
        found = Near(*(column_P[pairs.key_P < pairs.query_P] for column_P in pairs))
        order_P = np.lexsort((found.key_P, found.distance_P, -found.correlation_P, found.query_P))
        first_P = order_P[np.unique(found.query_P[order_P], return_index=True)[1]]
        query_P, key_P, distance_P, correlation_P = (column_P[first_P] for column_P in found)
        row_P = np.searchsorted(query_Q, query_P)
        even_P = correlation_P == correlation_Q[row_P]
        nearer_P = (distance_P < distance_Q[row_P]) | ((distance_P == distance_Q[row_P]) & (key_P < place_Q[row_P]))
        better_P = (place_Q[row_P] == NONE) | (correlation_P > correlation_Q[row_P]) | (even_P & nearer_P)
        row_P = row_P[better_P]
        place_Q[row_P], distance_Q[row_P] = key_P[better_P], distance_P[better_P]
        correlation_Q[row_P] = correlation_P[better_P]
    return place_Q, distance_Q, correlation_Q


def _numbered(key_N: Array) -> Array:
    """0.. for each distinct key, in place of the key."""
    return np.unique(key_N, return_inverse=True)[1].astype(np.int32)


def _shared(group_N: Array) -> Array:
    """Whether another record has the same number."""
    shared_N: Array = (np.bincount(group_N) > 1)[group_N]
    return shared_N
