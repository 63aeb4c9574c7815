"""Losses of pairs against keys: contrastive ones, and the student's softmax over the batch that follows a teacher's.

Letters: B pairs, K keys (the pairs of the whole batch), D dimension. Embeddings are L2-normalised.
"""

import torch.nn.functional as F
from torch import Tensor

MASKED = -1e4  # a logit that leaves no probability; finite, since 0 x infinity is no number


def info_nce(
    query_BD: Tensor, key_KD: Tensor, scale: Tensor | float, positive_BK: Tensor, key_K: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each query against all keys (B,), its target spread evenly over its positives.

    With one positive a query this is InfoNCE; with a teacher's vectors as keys, interactive contrastive learning.
    `scale` multiplies the cosine: pass `logit_scale.exp()`, not its logarithm. positive_BK: bool. key_K: which keys
    take part, all of them if None; a query without a positive among them costs 0.
    """
    logits_BK = scale * query_BD @ key_KD.T
    if key_K is not None:
        logits_BK, positive_BK = logits_BK.masked_fill(~key_K, MASKED), positive_BK & key_K
    target_BK = positive_BK / positive_BK.sum(dim=1, keepdim=True).clamp(min=1)
    return -(target_BK * F.log_softmax(logits_BK, dim=1)).sum(dim=1)


def sigmoid_pairs(
    query_BD: Tensor,
    key_KD: Tensor,
    scale: Tensor | float,
    bias: Tensor | float,
    positive_BK: Tensor,
    key_K: Tensor | None = None,
) -> Tensor:
    """SigLIP, arXiv 2303.15343: each cell by itself is a pair or is none; the sum over a query's keys (B,).

    `bias` is added to the logits: about minus the logarithm of the number of keys when training begins. key_K: which
    keys take part, all of them if None.
    """
    logits_BK = scale * query_BD @ key_KD.T + bias
    cost_BK = -F.logsigmoid(logits_BK.where(positive_BK, -logits_BK))
    return (cost_BK if key_K is None else cost_BK * key_K).sum(dim=1)


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
