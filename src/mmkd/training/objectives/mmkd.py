"""The reference recipe.

Letters: B own pairs, K keys, D student dimension, T teachers.
"""

import torch
from torch import Tensor, nn

from mmkd.training.distill_settings import DistillSettings
from mmkd.training.losses.contrastive import info_nce
from mmkd.training.losses.feature import squared_error
from mmkd.training.objectives.contrastive import contrastive_term
from mmkd.training.objectives.objective import Objective, teachers_of
from mmkd.training.view import View

LOG_SCALE = 2.6593  # log(1 / .07)


class Mmkd(Objective):
    """The reference recipe: contrastive + 50 x MSE + interactive, against one random available teacher a sample.

    A teacher's features pass through its frozen projection to the student's dimension; like the stored ones of the
    public data they are not normalised there. Negatives of the interactive term come from whatever teacher was drawn.
    """

    def __init__(self, settings: DistillSettings, projections: list[nn.Module]) -> None:
        super().__init__()
        self.scale = LOG_SCALE  # as the public code has it: not exponentiated, never trained
        self.weights = {"contrastive": 1.0, "feature_distance": settings.mmkd.fd, "interactive": settings.mmkd.icl}
        self.projections = nn.ModuleList(projections).requires_grad_(False)

    def forward(self, view: View) -> dict[str, Tensor]:
        _, keys = teachers_of(view)
        drawn_K = draw_teacher(keys.available_BT, view.generator)
        image_KD, text_KD = (self._target(side, drawn_K, view.own.image_BD) for side in (keys.image, keys.text))
        own_K = slice(view.offset, view.offset + len(view.own.image_BD))
        alone_BK = torch.eye(len(drawn_K), dtype=torch.bool, device=drawn_K.device)[own_K]
        distance_B = squared_error(view.own.image_BD, image_KD[own_K]) + squared_error(view.own.text_BD, text_KD[own_K])
        forward_B = info_nce(view.own.image_BD, text_KD, self.scale, alone_BK)
        backward_B = info_nce(view.own.text_BD, image_KD, self.scale, alone_BK)
        return {
            "contrastive": contrastive_term(view),
            "feature_distance": view.row_mean(distance_B),
            "interactive": view.row_mean((forward_B + backward_B) / 2),
        }

    def _target(self, side: list[Tensor], drawn_K: Tensor, like_BD: Tensor) -> Tensor:
        target_KD = like_BD.new_zeros(len(drawn_K), like_BD.shape[1])
        for t, projection in enumerate(self.projections):
            row = (drawn_K == t).nonzero().squeeze(1)
            target_KD[row] = projection(side[t][row]).to(target_KD.dtype)
        return target_KD


def draw_teacher(available_BT: Tensor, generator: torch.Generator) -> Tensor:
    """One available teacher a row, uniformly (B,); every row needs at least one."""
    return torch.multinomial(available_BT.float().cpu(), 1, generator=generator).squeeze(1).to(available_BT.device)
