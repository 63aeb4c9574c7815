"""The reference recipe, each of its defects a switch.

Letters: B own pairs, K keys, D student dimension, T teachers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.training.data.view import View, uniform
from mmkd.training.experimental.heads import squared_error
from mmkd.training.losses.contrastive import info_nce
from mmkd.training.losses.memory import in_chunks
from mmkd.training.objectives.contrastive import CaptionTerm
from mmkd.training.objectives.objective import Objective, TeacherShape, teachers_of
from mmkd.training.settings.distill import DistillSettings

LOG_SCALE = math.log(1 / 0.07)  # 2.66; the public code multiplies by it as it is, its exponential is 14.3
MAX_LOG_SCALE = math.log(100.0)


class Mmkd(Objective):
    """Contrastive + 50 x MSE + interactive, against one random available teacher a pair.

    A teacher's vectors pass through its frozen target into the student's dimension. Under `settings.reference` as the
    public code has it they keep their lengths there, a pair's negatives come from whatever teacher each of them drew,
    and the interactive scale is a logarithm that nothing trains.
    """

    def __init__(
        self, settings: DistillSettings, _dim: int, shapes: list[TeacherShape], _generator: torch.Generator
    ) -> None:
        super().__init__()
        self.recipe = settings.reference
        self.weights = {"contrastive": 1.0, "feature_distance": self.recipe.fd, "interactive": self.recipe.icl}
        self.captions = CaptionTerm(settings.pairwise, self.recipe.gather_gradient)
        self.log_scale = nn.Parameter(torch.tensor(LOG_SCALE), requires_grad=self.recipe.train_scale)
        self.targets = nn.ModuleList(shape.target for shape in shapes)

    def forward(self, view: View) -> dict[str, Tensor]:
        _, keys = teachers_of(view)
        drawn_K = draw_teacher(keys.available_BT, view.generator)
        image_KD, text_KD = self._projected(view, drawn_K)
        own = view.own_keys
        image_B, text_B = (
            squared_error(side_BD, target_KD[own])
            for side_BD, target_KD in ((view.own.image_BD, image_KD), (view.own.text_BD, text_KD))
        )
        forward_B = self._interactive(view, view.own.image_BD, drawn_K, text_KD, "text")
        backward_B = self._interactive(view, view.own.text_BD, drawn_K, image_KD, "image")
        return {
            "contrastive": self.captions(view),
            "feature_distance": view.row_mean(image_B + text_B),
            "interactive": view.row_mean((forward_B + backward_B) / 2),
        }

    @property
    def scale(self) -> Tensor:
        """What multiplies the interactive term's products."""
        return self.log_scale.clamp(max=MAX_LOG_SCALE).exp() if self.recipe.exp_scale else self.log_scale

    def _projected(self, view: View, drawn_K: Tensor) -> tuple[Tensor, Tensor]:
        """Each key's image and text vectors in the space of the teacher drawn for it (K, D)."""
        sides = []
        for side in ("image", "text"):
            target_KD = view.keys.image_BD.new_zeros(view.keys.image_BD.shape)
            for t in range(len(self.targets)):
                target_KD = torch.where((drawn_K == t)[:, None], self._target(view, t, side), target_KD)
            sides.append(target_KD)
        return sides[0], sides[1]

    def _target(self, view: View, t: int, side: str) -> Tensor:
        _, keys = teachers_of(view)
        vectors: list[Tensor] = getattr(keys, side)
        target_KD: Tensor = getattr(self.targets[t], side)(vectors[t])
        return F.normalize(target_KD, dim=1) if self.recipe.normalise else target_KD

    def _interactive(self, view: View, query_BD: Tensor, drawn_K: Tensor, mixed_KD: Tensor, side: str) -> Tensor:
        """InfoNCE of each own pair (B,) against the vectors that were drawn, or against those of its own teacher."""
        _, keys = teachers_of(view)
        own, count = view.own_keys, len(drawn_K)
        key_K = torch.arange(count, device=drawn_K.device)
        own_BK = key_K == key_K[own, None]

        def against(key_KD: Tensor, key_K: Tensor | None) -> Tensor:
            def loss(query_BD: Tensor, own_BK: Tensor) -> Tensor:
                return info_nce(query_BD, key_KD, self.scale, own_BK, key_K)

            return in_chunks(loss, (query_BD, own_BK), count)

        if not self.recipe.one_space:
            return against(mixed_KD, None)
        value_B = query_BD.new_zeros(len(query_BD))
        for t in range(len(self.targets)):
            found_B = against(self._target(view, t, side), keys.available_BT[:, t])
            value_B = torch.where(drawn_K[own] == t, found_B, value_B)
        return value_B


def draw_teacher(available_KT: Tensor, generator: torch.Generator) -> Tensor:
    """One available teacher a row, uniformly (K,); every row needs at least one."""
    number_KT = uniform(available_KT.shape, generator, available_KT.device)
    return number_KT.masked_fill(~available_KT.bool(), -1.0).argmax(dim=1)
