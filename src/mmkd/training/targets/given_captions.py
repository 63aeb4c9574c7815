"""What each pair's own caption is worth as evidence: how often captions are wrong, and how common their meaning is.

Letters: N pairs, G pairs of a group, S captions of its sample, T teachers, E a teacher's dimension.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.features.store import TeacherFeatures
from mmkd.randomness import Purpose, generator

SAMPLE = 1024  # captions of a group that stand for all of them
BLOCK = 2048  # pairs in memory at once
LEAST_WRONG = 0.02  # however few wrong captions are found, none is beyond doubt


def given_captions(
    features: Sequence[TeacherFeatures],
    rows: np.ndarray,
    group_N: np.ndarray,
    slope_NT: np.ndarray,
    wrong_N: np.ndarray,
    seed: int,
    captioned_N: np.ndarray | None = None,
) -> np.ndarray:
    """Of each pair's caption, the share of wrong captions of its group, at least LEAST_WRONG, and the share of right
    ones over the mean of its likeness to the captions of the group (N, 2) float32.

    Likeness is that of `losses.stacked.alike_captions`: 0..1, by the slopes of the group. The mean is that of at most
    SAMPLE captions drawn from the group, so that memory does not depend on its size. slope_NT, wrong_N: the same for
    all pairs of a group. Where no teacher has a slope, nothing is known of captions and the second number is the first
    one's complement.
    captioned_N: rows with a caption, all of them if None; what another one has in its place is surely not its own, and
    (1, 0) is no evidence at all.
    """
    captioned_N = np.ones(len(rows), dtype=bool) if captioned_N is None else captioned_N
    wrong_N = np.where(captioned_N, np.maximum(wrong_N, LEAST_WRONG), np.float32(1.0))
    common_N = np.ones(len(rows))
    rng = generator(seed, Purpose.GIVEN_CAPTIONS)
    for name in np.unique(group_N[captioned_N]):
        place_G = np.flatnonzero(captioned_N & (group_N == name))
        place_S = np.sort(rng.choice(place_G, min(SAMPLE, len(place_G)), replace=False))
        slope_T = slope_NT[place_G[0]]
        for first in range(0, len(place_G), BLOCK):
            place_B = place_G[first : first + BLOCK]
            common_N[place_B] = _commonness(features, rows[place_B], rows[place_S], slope_T)
    return np.stack([wrong_N, (1.0 - wrong_N) / common_N], axis=1).astype(np.float32)


def _commonness(
    features: Sequence[TeacherFeatures], row_B: np.ndarray, row_S: np.ndarray, slope_T: np.ndarray
) -> np.ndarray:
    """The mean likeness of each caption to those of the sample (B,), by the teachers that have both.

    At least that of a caption that is alike with itself only.
    """
    logit_BS = np.zeros((len(row_B), len(row_S)), dtype=np.float32)
    for t in np.flatnonzero(slope_T > 0).tolist():
        text_BE, valid_B = features[t].take(row_B)[1:]
        text_SE, valid_S = features[t].take(row_S)[1:]
        cosine_BS = text_BE.astype(np.float32) @ text_SE.astype(np.float32).T
        both_BS = valid_B[:, None] & valid_S
        logit_BS += np.where(both_BS, slope_T[t] * (cosine_BS - 1.0), 0.0)
    return np.asarray(np.exp(np.minimum(logit_BS, 0.0)).mean(axis=1)).clip(min=1.0 / len(row_S))
