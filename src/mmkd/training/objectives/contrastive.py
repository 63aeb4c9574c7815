"""The contrastive loss on images and captions: stage 1, and the term that other objectives add.

Letters: B own pairs, K keys, D dimension.
"""

import torch
from torch import Tensor, nn

from mmkd.training.data.view import View
from mmkd.training.losses.contrastive import info_nce, sigmoid_pairs
from mmkd.training.losses.memory import in_chunks
from mmkd.training.objectives.objective import Objective
from mmkd.training.settings.train import TrainSettings

BIAS = -10.0  # of the sigmoid when training begins, as in SigLIP


class CaptionTerm(nn.Module):
    """Images against captions and back, by softmax or by SigLIP's sigmoid, whose bias is trained.

    gather_gradient: the pairs of other processes carry gradients; without, only this process's pairs do.
    """

    def __init__(self, pairwise: str = "softmax", gather_gradient: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(BIAS)) if pairwise == "sigmoid" else None
        self.gather_gradient = gather_gradient

    def forward(self, view: View) -> Tensor:
        """The mean over the pairs, each multiplied by the weight of its caption.

        A picture without a caption of its own, and the caption that it has instead, are no keys.
        """
        forward_B = self._one_way(view, view.own.image_BD, view.keys.text_BD)
        backward_B = self._one_way(view, view.own.text_BD, view.keys.image_BD)
        return view.row_mean((forward_B + backward_B) / 2 * view.caption_weight_B)

    def _one_way(self, view: View, query_BD: Tensor, key_KD: Tensor) -> Tensor:
        if not self.gather_gradient:
            own = view.own_keys
            key_KD = torch.cat([key_KD[: own.start].detach(), key_KD[own], key_KD[own.stop :].detach()])

        def loss(query_BD: Tensor, positive_BK: Tensor) -> Tensor:
            if self.bias is None:
                return info_nce(query_BD, key_KD, view.own.scale, positive_BK, view.captioned_K)
            return sigmoid_pairs(query_BD, key_KD, view.own.scale, self.bias, positive_BK, view.captioned_K)

        return in_chunks(loss, (query_BD, view.positive_BK), len(key_KD))


class Contrastive(Objective):
    """The caption term only: stage 1, and stage 1 continued, which needs neither teachers nor first weights."""

    def __init__(self, settings: TrainSettings, *_: object) -> None:
        super().__init__()
        self.weights = {"contrastive": 1.0}
        self.captions = CaptionTerm(settings.pairwise)

    def forward(self, view: View) -> dict[str, Tensor]:
        return {"contrastive": self.captions(view)}
