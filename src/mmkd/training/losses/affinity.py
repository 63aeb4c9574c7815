"""Affinity distillation: the student's softmax over the batch follows a teacher's.

Letters: B pairs, K keys.
"""

import torch.nn.functional as F
from torch import Tensor


def kl_rows(target_BK: Tensor, logits_BK: Tensor) -> Tensor:
    """KL from the softmax of a teacher's logits to the student's, per row (B,); MobileCLIP, arXiv 2311.17049."""
    log_target = F.log_softmax(target_BK, dim=1)
    return F.kl_div(F.log_softmax(logits_BK, dim=1), log_target, reduction="none", log_target=True).sum(dim=1)
