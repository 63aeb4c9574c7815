"""Distances between a student's vectors and a teacher's, per row.

Letters: B pairs, D dimension.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_distance(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """1 - cosine, 0..2, per row (B,). The inputs need not be normalised."""
    return 1.0 - F.cosine_similarity(predicted_BD, target_BD, dim=1)


def squared_angle(predicted_BD: Tensor, target_BD: Tensor, dispersion: float) -> Tensor:
    """Squared angle (radian^2) over the teacher's angular dispersion, per row (B,); C-RADIOv4, arXiv 2601.17237.

    1 means as far off as the teacher's own vectors are from their mean. The inputs need not be normalised.
    """
    cosine_B = F.cosine_similarity(predicted_BD, target_BD, dim=1)
    # the derivative of acos is infinite at 1: stay half a millidegree away from it
    angle_B = torch.acos(cosine_B.clamp(-1 + 1e-7, 1 - 1e-7))
    return angle_B.square() / dispersion


def squared_error(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean over the dimensions of the squared difference, per row (B,)."""
    return (predicted_BD - target_BD).square().mean(dim=1)


def smooth_l1(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean over the dimensions of d^2 / 2 where the difference d is below 1, |d| - 1/2 above, per row (B,)."""
    return F.smooth_l1_loss(predicted_BD, target_BD, reduction="none").mean(dim=1)
