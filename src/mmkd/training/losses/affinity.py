"""Affinity distillation: the student's softmax over the batch follows a teacher's.

Letters: B pairs, K keys, D student dimension, E teacher dimension. Embeddings are L2-normalised.
"""

import torch.nn.functional as F
from torch import Tensor

from mmkd.training.losses.contrastive import MASKED


def kl_rows(target_BK: Tensor, logits_BK: Tensor) -> Tensor:
    """KL from the softmax of a teacher's logits to the student's, per row (B,); MobileCLIP, arXiv 2311.17049."""
    log_target = F.log_softmax(target_BK, dim=1)
    return F.kl_div(F.log_softmax(logits_BK, dim=1), log_target, reduction="none", log_target=True).sum(dim=1)


def affinity(
    query_BD: Tensor,
    key_KD: Tensor,
    scale: Tensor | float,
    teacher_query_BE: Tensor,
    teacher_key_KE: Tensor,
    teacher_scale: float,
    key_K: Tensor,
) -> Tensor:
    """KL between the softmax of a teacher's scaled cosines and that of the student's, over the keys in key_K (B,)."""
    target_BK, logits_BK = teacher_scale * teacher_query_BE @ teacher_key_KE.T, scale * query_BD @ key_KD.T
    return kl_rows(target_BK.masked_fill(~key_K, MASKED), logits_BK.masked_fill(~key_K, MASKED))
