"""The shape of a teacher's embedding cone: mean direction, angular dispersion, and the temperature that suits it.

Letters: N rows, D dimension, B rows of a batch.
"""

import numpy as np
import torch
import torch.nn.functional as F

MIN_SCALE, MAX_SCALE = 1.0, 200.0
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


def temperature(image_BD: torch.Tensor, text_BD: torch.Tensor, entropy: float) -> float:
    """The logit scale at which the median row of softmax(scale * image @ text^T) has `entropy` x log(B).

    Cones differ: a scale that makes one teacher's softmax sharp leaves another's flat. With equal entropy every teacher
    says equally much. Found by bisection; entropy falls as the scale grows. Clipped to 1..200.
    """
    cosine_BB = image_BD.float() @ text_BD.float().T
    target = entropy * float(np.log(len(cosine_BB)))
    low, high = MIN_SCALE, MAX_SCALE
    for _ in range(30):
        scale = (low * high) ** 0.5
        log_p = F.log_softmax(scale * cosine_BB, dim=1)
        median = float(-(log_p.exp() * log_p).sum(dim=1).median())
        low, high = (scale, high) if median > target else (low, scale)
    return float((low * high) ** 0.5)
