"""The shape of a teacher's embedding cone: mean direction, angular dispersion, and the temperature that suits it.

Letters: N rows, D dimension, B rows of a batch.
"""

import numpy as np
import torch

MIN_SCALE, CLIP_SCALE, MAX_SCALE = 1.0, 100.0, 200.0
MIN_DISPERSION = 0.01  # radian^2; a tighter cone means too few vectors, and losses are divided by it


def mean_direction(unit_ND: np.ndarray) -> np.ndarray:
    """The mean of unit vectors (D,), not normalised: centred targets subtract it."""
    return np.asarray(unit_ND.astype(np.float64).mean(axis=0))


def dispersion(unit_ND: np.ndarray) -> float:
    """Mean squared angle (radian^2) between the vectors and their mean direction, at least MIN_DISPERSION.

    As in C-RADIOv4, arXiv 2601.17237.
    """
    centre_D = mean_direction(unit_ND)
    cosine_N = unit_ND.astype(np.float64) @ (centre_D / max(float(np.linalg.norm(centre_D)), 1e-12))
    return max(float((np.arccos(np.clip(cosine_N, -1.0, 1.0)) ** 2).mean()), MIN_DISPERSION)


def temperature(image_BD: torch.Tensor, text_BD: torch.Tensor, spread: float) -> float:
    """The logit scale at which a row of scale * image @ text^T has the standard deviation `spread` on average.

    Cones differ: a scale that makes one teacher's softmax sharp leaves another's flat. With equal spread every
    softmax is equally sharp. A rule on the entropy would depend on how many captions mean the same, and one on the
    likelihood on how many are wrong. Clipped to 1..200; CLIP's own 100 gives spreads of about 5 to 8, and is
    the answer where fewer than two pairs leave nothing to measure.
    """
    if len(image_BD) < 2:
        return CLIP_SCALE
    cosine_BB = image_BD.float() @ text_BD.float().T
    deviation = float(cosine_BB.std(dim=1).mean())
    return min(max(spread / max(deviation, 1e-6), MIN_SCALE), MAX_SCALE)
