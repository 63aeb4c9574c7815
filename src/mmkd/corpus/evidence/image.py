"""What teachers see: zero-shot votes on an image's modality, once their features exist.

N images, T teachers, M modalities.
"""

import numpy as np


def image_votes(vote_NTM: np.ndarray, reliability_T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modality (N,) as an index into M, -1 where no reliable teacher saw the image, and its probability (N,), 0..1.

    vote_NTM: probabilities over the modalities, NaN where a teacher has no features of the image. reliability_T: each
    teacher's zero-shot accuracy on images of known modality; its weight is what it has above chance 1 / M, so that a
    guesser counts for nothing. The votes are averaged with these weights (linear opinion pool), which lets teachers
    that disagree lower the probability. Raises ValueError when the shapes do not fit.
    """
    if vote_NTM.ndim != 3 or reliability_T.shape != vote_NTM.shape[1:2]:
        raise ValueError(f"votes {vote_NTM.shape} and reliability {reliability_T.shape}; expected (N, T, M) and (T,)")
    chance = 1 / vote_NTM.shape[2]
    weight_T = np.clip((reliability_T - chance) / (1 - chance), 0, 1)
    weight_NT = np.where(np.isnan(vote_NTM).any(axis=2), 0.0, weight_T)
    total_N = weight_NT.sum(axis=1)
    pooled_NM = np.einsum("nt,ntm->nm", weight_NT, np.nan_to_num(vote_NTM)) / np.where(total_N > 0, total_N, 1)[:, None]
    seen_N = total_N > 0
    return np.where(seen_N, pooled_NM.argmax(axis=1), -1), np.where(seen_N, pooled_NM.max(axis=1), 0.0)
