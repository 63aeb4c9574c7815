"""Contrastive losses of pairs against keys.

Letters: B pairs, K keys (the pairs of the whole batch), D dimension. Embeddings are L2-normalised.
"""

import torch.nn.functional as F
from torch import Tensor


def info_nce(query_BD: Tensor, key_KD: Tensor, scale: Tensor | float, positive_BK: Tensor) -> Tensor:
    """Cross-entropy of each query against all keys (B,), its target spread evenly over its positives.

    With one positive a query this is InfoNCE. `scale` multiplies the cosine: pass `logit_scale.exp()`, not its
    logarithm. positive_BK: bool, at least one True in each row.
    """
    log_p_BK = F.log_softmax(scale * query_BD @ key_KD.T, dim=1)
    target_BK = positive_BK / positive_BK.sum(dim=1, keepdim=True)
    return -(target_BK * log_p_BK).sum(dim=1)
