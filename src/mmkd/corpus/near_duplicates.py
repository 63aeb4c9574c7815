"""Pictures that look alike to a teacher, where features exist; N pictures, D dimensions, P pairs."""

import numpy as np

from mmkd.corpus.hamming import BITS, Array, Pairs, within

RADIUS = 9
"""Signs of 64 that may differ. Of two vectors with cosine c, each differs with probability arccos(c) / pi, so at
c = 0.98 four do on average and more than nine in one pair of a hundred."""
CHUNK = 65_536  # pairs whose vectors are in memory at once


def alike(feature_ND: Array, cosine: float, rng: np.random.Generator, radius: int = RADIUS) -> tuple[Array, Array]:
    """Pairs of rows with a cosine of at least `cosine`, the earlier row first: (P, 2) and their cosines (P,).

    Candidates are found by the signs of random projections (Charikar, STOC 2002) and confirmed exactly, so every pair
    told is one; a pair whose signs differ in more than `radius` places is missed. Rows are normalised here. Raises
    ValueError where a row has no length.
    """
    length_N1 = np.linalg.norm(feature_ND, axis=1, keepdims=True)
    if not (np.isfinite(length_N1) & (length_N1 > 0)).all():
        raise ValueError("a row of the features is zero or not finite; embed its picture anew")
    unit_ND = feature_ND / length_N1
    hash_N = signs(unit_ND, rng)
    found: Pairs = within(hash_N, hash_N, radius)
    earlier_P, later_P = (place_P[found.key_P < found.query_P] for place_P in (found.key_P, found.query_P))
    cosine_P = np.concatenate(
        [np.empty(0)]
        + [
            (unit_ND[earlier_P[first : first + CHUNK]] * unit_ND[later_P[first : first + CHUNK]]).sum(axis=1)
            for first in range(0, len(earlier_P), CHUNK)
        ]
    )
    near_P = cosine_P >= cosine
    return np.stack([earlier_P[near_P], later_P[near_P]], axis=1), cosine_P[near_P]


def signs(feature_ND: Array, rng: np.random.Generator) -> Array:
    """64 signs of random projections of each row, as uint64 (N,)."""
    normal_D64 = rng.standard_normal((feature_ND.shape[1], BITS)).astype(feature_ND.dtype)
    packed_N8 = np.packbits(feature_ND @ normal_D64 > 0, axis=1)
    return packed_N8.view(">u8")[:, 0].astype(np.uint64)
