"""The losses, as pure functions of embeddings.

Letters: B pairs of the batch, K keys, D dimension. Embeddings are L2-normalised unless a docstring says otherwise.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(query_BD: Tensor, key_KD: Tensor, scale: Tensor | float, positive_BK: Tensor) -> Tensor:
    """Cross-entropy of each query against all keys, its target spread evenly over its positives.

    With one positive a query this is InfoNCE. `scale` multiplies the cosine: pass `logit_scale.exp()`, not its
    logarithm. positive_BK: bool, at least one True in each row.
    """
    log_p_BK = F.log_softmax(scale * query_BD @ key_KD.T, dim=1)
    target_BK = positive_BK / positive_BK.sum(dim=1, keepdim=True)
    return -(target_BK * log_p_BK).sum(dim=1).mean()


def contrastive(image_BD: Tensor, text_BD: Tensor, scale: Tensor | float, positive_BB: Tensor) -> Tensor:
    """The CLIP loss: InfoNCE from images to captions and back. positive_BB: bool, symmetric, True on the diagonal."""
    forward = info_nce(image_BD, text_BD, scale, positive_BB)
    return (forward + info_nce(text_BD, image_BD, scale, positive_BB.T)) / 2


def affinity(
    image_BD: Tensor, text_BD: Tensor, scale: Tensor | float, target_BB: Tensor, weight_B: Tensor
) -> tuple[Tensor, Tensor]:
    """KL from a teacher's image-text softmax over the batch to the student's, both ways (MobileCLIP, arXiv 2311.17049).

    target_BB: the teacher's logits, already scaled. weight_B: trust in the teacher for each pair.
    Returns the weighted sum over the pairs and the sum of the weights, so that teachers can be averaged together.
    """
    logits_BB = scale * image_BD @ text_BD.T
    both = _kl_rows(target_BB, logits_BB) + _kl_rows(target_BB.T, logits_BB.T)
    return (both / 2 * weight_B).sum(), weight_B.sum()


def _kl_rows(target_BB: Tensor, logits_BB: Tensor) -> Tensor:
    log_target = F.log_softmax(target_BB, dim=1)
    return F.kl_div(F.log_softmax(logits_BB, dim=1), log_target, reduction="none", log_target=True).sum(dim=1)


def squared_angle(predicted_BD: Tensor, target_BD: Tensor, dispersion: float) -> Tensor:
    """Squared angle (radian^2) over the teacher's angular dispersion, per row (B,); C-RADIOv4, arXiv 2601.17237.

    1 means as far off as the teacher's own vectors are from their mean. The inputs need not be normalised.
    """
    cosine_B = F.cosine_similarity(predicted_BD, target_BD, dim=1)
    # the derivative of acos is infinite at 1: stay half a millidegree away from it
    angle_B = torch.acos(cosine_B.clamp(-1 + 1e-7, 1 - 1e-7))
    return angle_B.square() / dispersion


def feature_distance(image_BD: Tensor, text_BD: Tensor, image_target_BD: Tensor, text_target_BD: Tensor) -> Tensor:
    """The reference's feature distillation: mean squared error per dimension, images plus captions."""
    return F.mse_loss(image_BD, image_target_BD) + F.mse_loss(text_BD, text_target_BD)


def interactive(
    image_BD: Tensor, text_BD: Tensor, image_target_BD: Tensor, text_target_BD: Tensor, scale: float
) -> Tensor:
    """The reference's interactive contrastive term: student images against teacher captions, and the reverse."""
    own_BB = torch.eye(len(image_BD), dtype=torch.bool, device=image_BD.device)
    forward = info_nce(image_BD, text_target_BD, scale, own_BB)
    return (forward + info_nce(text_BD, image_target_BD, scale, own_BB)) / 2
