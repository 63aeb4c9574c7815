"""Teachers' probabilities for an image's modality, pooled, and how often such votes are right.

N images, T teachers, M modalities, S bins of support.
"""

from dataclasses import dataclass

import numpy as np

from mmkd.curation.modality.votes import NAMED

BINS = 10  # of support, equally wide
SMOOTHING = 10.0  # rows by which a share is drawn to the coarser one


def pooled(support_TNM: np.ndarray, weight_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The modality (N,) that the teachers support most, -1 where none has a vote, and its support (N,), 0..1.

    support_TNM: probabilities, NaN where a teacher has no vector of the image. They are averaged with the teachers'
    weights (linear opinion pool), which lets teachers that disagree lower the support. It is no calibrated probability:
    see `trusted`. Raises ValueError when the shapes do not fit."""
    if support_TNM.ndim != 3 or weight_T.shape != support_TNM.shape[:1]:
        raise ValueError(f"support {support_TNM.shape} and weights {weight_T.shape}; expected (T, N, M) and (T,)")
    weight_TN = np.where(np.isnan(support_TNM).any(axis=2), 0.0, weight_T[:, None])
    total_N = weight_TN.sum(axis=0)
    sum_NM = np.einsum("tn,tnm->nm", weight_TN, np.nan_to_num(support_TNM))
    pooled_NM = sum_NM / np.where(total_N > 0, total_N, 1)[:, None]
    voted_N = total_N > 0
    return np.where(voted_N, pooled_NM.argmax(axis=1), -1), np.where(voted_N, pooled_NM.max(axis=1), 0.0)


def above_chance(accuracy_T: np.ndarray, modalities: int) -> np.ndarray:
    """Weights (T,), 0..1: what balanced accuracy has above chance 1 / M, so that a guesser has no weight."""
    chance = 1 / modalities
    weight_T: np.ndarray = np.clip((accuracy_T - chance) / (1 - chance), 0, 1)
    return weight_T


def bin_of(support_N: np.ndarray) -> np.ndarray:
    """The bin of support (N,), 0..BINS - 1; a rounding error of the last digits moves no row."""
    return np.clip(np.floor(np.round(support_N * BINS, 6)), 0, BINS - 1).astype(np.int8)


@dataclass(frozen=True)
class Trust:
    """How often a vote for a modality with such a support is right. rows_MS, right_MS: counted against captions.
    trust_MS: 0..NAMED. speaks_MS: whether such votes count at all."""

    rows_MS: np.ndarray
    right_MS: np.ndarray
    trust_MS: np.ndarray
    speaks_MS: np.ndarray


def trusted(rows_MS: np.ndarray, right_MS: np.ndarray, floor: float, min_rows: int) -> Trust:
    """Shares right, each drawn to that of its modality, and these to that of all, by SMOOTHING rows; of all rows
    together the share is (right + 1) / (rows + 2) (Laplace). They are multiplied by NAMED, how often captions are right
    themselves: a vote that always agrees with captions is as good as they are, and no better.

    A modality with votes in fewer than `min_rows` rows has no vote, nor have votes that are trusted less than
    `floor`.
    """
    overall = (right_MS.sum() + 1) / (rows_MS.sum() + 2)
    rows_M1, right_M1 = rows_MS.sum(axis=1, keepdims=True), right_MS.sum(axis=1, keepdims=True)
    share_M1 = (right_M1 + SMOOTHING * overall) / (rows_M1 + SMOOTHING)
    trust_MS = NAMED * (right_MS + SMOOTHING * share_M1) / (rows_MS + SMOOTHING)
    return Trust(rows_MS, right_MS, trust_MS, (trust_MS >= floor) & (rows_M1 >= min_rows))
