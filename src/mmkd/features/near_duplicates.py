"""Near duplicates among images by a teacher's features; N images, D dimensions, P pairs."""

from collections.abc import Callable

import numpy as np

from mmkd.features.store import TeacherFeatures
from mmkd.images.hamming import BITS, Array, Pairs, within
from mmkd.images.thresholds import FEATURE_RADIUS

CHUNK = 32_768  # rows, or pairs, whose vectors are in memory at once
Read = Callable[[Array], Array]
"""Row numbers (B,) -> their vectors (B, D)."""


def near_duplicate_pairs(
    read: Read, rows: int, cosine: float, rng: np.random.Generator, radius: int = FEATURE_RADIUS
) -> tuple[Array, Array]:
    """Pairs of rows with a cosine of at least `cosine`, the earlier row first: (P, 2) and their cosines (P,).

    Candidates are found by the signs of random projections (Charikar, STOC 2002) and confirmed exactly, so every pair
    found is one; a pair whose signs differ in more than `radius` places is missed. Vectors are read as they are needed
    and normalised here; 8 bytes a row are held. Raises ValueError where a row has no length.
    """
    normal_D64: Array | None = None
    hashes = [np.empty(0, np.uint64)]
    for first in range(0, rows, CHUNK):
        unit_ND = _unit(read(np.arange(first, min(first + CHUNK, rows))))
        normal_D64 = projections(unit_ND.shape[1], rng) if normal_D64 is None else normal_D64
        hashes.append(signs(unit_ND, normal_D64))
    hash_N = np.concatenate(hashes)
    found: Pairs = within(hash_N, hash_N, radius)
    earlier_P, later_P = (place_P[found.key_P < found.query_P] for place_P in (found.key_P, found.query_P))
    cosine_P = np.concatenate(
        [np.empty(0)]
        + [
            (_unit(read(earlier_P[first : first + CHUNK])) * _unit(read(later_P[first : first + CHUNK]))).sum(axis=1)
            for first in range(0, len(earlier_P), CHUNK)
        ]
    )
    near_P = cosine_P >= cosine
    return np.stack([earlier_P[near_P], later_P[near_P]], axis=1), cosine_P[near_P]


def duplicates(pair_P2: Array, rows: int) -> Array:
    """Of each row (N,) the earliest one of which it is a near duplicate and that is none itself, -1 where there is
    none.

    pair_P2: earlier and later row. The rows with -1 hold one of each such pair.
    """
    duplicate_N = np.full(rows, -1, np.int64)
    for earlier, later in sorted(map(tuple, pair_P2.tolist()), key=lambda pair: (pair[1], pair[0])):
        if duplicate_N[later] < 0 and duplicate_N[earlier] < 0:
            duplicate_N[later] = earlier
    return duplicate_N


def near_duplicate_rows(
    teacher: TeacherFeatures, cosine: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of the corpus, the earlier first, (P, 2), and their cosines (P,); see `near_duplicate_pairs`.

    Rows of whose image the teacher lacks a vector are in no pair. A block of vectors is in memory at a time.
    """
    rows = np.flatnonzero(teacher.has("image"))
    pair_P2, cosine_P = near_duplicate_pairs(lambda places: teacher.take(rows[places])[0], len(rows), cosine, rng)
    return rows[pair_P2], cosine_P


def projections(dim: int, rng: np.random.Generator) -> Array:
    """64 random directions (D, 64)."""
    return rng.standard_normal((dim, BITS)).astype(np.float32)


def signs(feature_ND: Array, normal_D64: Array) -> Array:
    """On which side of 64 hyperplanes each row lies, as the bits of a uint64 (N,)."""
    packed_N8 = np.packbits(feature_ND @ normal_D64 > 0, axis=1)
    return packed_N8.view(">u8")[:, 0].astype(np.uint64)


def _unit(feature_ND: Array) -> Array:
    wide_ND = feature_ND.astype(np.promote_types(feature_ND.dtype, np.float32))
    length_N1 = np.linalg.norm(wide_ND, axis=1, keepdims=True)
    if not (np.isfinite(length_N1) & (length_N1 > 0)).all():
        raise ValueError("a row of the features is zero or not finite; embed its image anew")
    return np.asarray(wide_ND / length_N1)
