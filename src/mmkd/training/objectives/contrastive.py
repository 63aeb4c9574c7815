"""The captions as the only teacher: stage 1, and the term that other objectives add."""

from torch import Tensor

from mmkd.training.losses.contrastive import info_nce
from mmkd.training.objectives.objective import Objective
from mmkd.training.view import View


def contrastive_term(view: View) -> Tensor:
    """The CLIP loss, both ways; each pair counts as far as its caption is believed."""
    own, keys, scale = view.own, view.keys, view.own.scale
    forward_B = info_nce(own.image_BD, keys.text_BD, scale, view.positive_BK)
    backward_B = info_nce(own.text_BD, keys.image_BD, scale, view.positive_BK)
    return view.row_mean((forward_B + backward_B) / 2 * view.caption_B)


class Contrastive(Objective):
    """The CLIP loss alone: stage 1, and stage 1 continued."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"contrastive": 1.0}

    def forward(self, view: View) -> dict[str, Tensor]:
        return {"contrastive": contrastive_term(view)}
