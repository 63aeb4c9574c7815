"""Every trusted teacher's image-text softmax at every step, weighted by what calibration found.

Letters: B own pairs, K keys, D student dimension, T teachers.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.training.distill_settings import DistillSettings
from mmkd.training.losses.affinity import kl_rows
from mmkd.training.losses.feature import squared_angle
from mmkd.training.objectives.contrastive import contrastive_term
from mmkd.training.objectives.objective import Objective, TeacherShape, teachers_of
from mmkd.training.view import Embedded, View


class Affinity(Objective):
    """The affinity term, with optional heads and a share of the captions."""

    def __init__(self, settings: DistillSettings, dim: int, shapes: list[TeacherShape]) -> None:
        super().__init__()
        self.settings, self.shapes = settings, shapes
        share = settings.contrastive
        self.weights = {"contrastive": share, "affinity": 1.0 - share, "heads": settings.heads}
        self.weights = {name: weight for name, weight in self.weights.items() if weight > 0}
        self.heads = nn.ModuleList(TeacherHeads(dim, shape) for shape in shapes) if settings.heads else None

    def forward(self, view: View) -> dict[str, Tensor]:
        found = {"affinity": self._affinity(view)}
        if self.settings.contrastive:
            found["contrastive"] = contrastive_term(view)
        if self.heads is not None:
            found["heads"] = self._heads(view)
        return found

    def _affinity(self, view: View) -> Tensor:
        teachers, teacher_keys = teachers_of(view)
        total, norm = view.own.image_BD.sum() * 0.0, view.own.image_BD.new_zeros(())
        for t, shape in enumerate(self.shapes):
            weight_B = teachers.weight_BT[:, t]
            row = (weight_B > self.settings.min_weight).nonzero().squeeze(1)
            key = (teacher_keys.weight_BT[:, t] > self.settings.min_weight).nonzero().squeeze(1)
            if len(key) < 2:  # a softmax over one pair says nothing
                continue
            sides = (
                (view.own.image_BD, view.keys.text_BD, teachers.image[t], teacher_keys.text[t]),
                (view.own.text_BD, view.keys.image_BD, teachers.text[t], teacher_keys.image[t]),
            )
            for query, keys, teacher_query, teacher_key in sides:
                target = shape.scale * teacher_query[row] @ teacher_key[key].T
                value = kl_rows(target, view.own.scale * query[row] @ keys[key].T)
                total = total + (value * weight_B[row]).sum() / 2
            norm = norm + weight_B[row].sum()
        return view.mean(total, norm)

    def _heads(self, view: View) -> Tensor:
        teachers, _ = teachers_of(view)
        total, norm = view.own.image_BD.sum() * 0.0, view.own.image_BD.new_zeros(())
        for t, head in enumerate(self.heads or []):
            weight_B = teachers.weight_BT[:, t]
            angle_B = head(view.own, teachers.image[t], teachers.text[t])
            total, norm = total + (angle_B * weight_B).sum(), norm + weight_B.sum()
        return view.mean(total, norm)


class TeacherHeads(nn.Module):
    """One light head per side for one teacher, towards its centred unit vectors; discarded after training."""

    def __init__(self, dim: int, shape: TeacherShape) -> None:
        super().__init__()
        self.image, self.text = (
            nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, shape.dim))
            for _ in range(2)
        )
        self.dispersion = (shape.image_dispersion, shape.text_dispersion)
        self.register_buffer("image_mean", shape.image_mean)
        self.register_buffer("text_mean", shape.text_mean)

    def forward(self, student: Embedded, image_BD: Tensor, text_BD: Tensor) -> Tensor:
        """Mean over both sides of angle^2 over dispersion, per pair (B,)."""
        image_target = F.normalize(image_BD - self.get_buffer("image_mean"), dim=1)
        text_target = F.normalize(text_BD - self.get_buffer("text_mean"), dim=1)
        image_B = squared_angle(self.image(student.image_BD), image_target, self.dispersion[0])
        text_B = squared_angle(self.text(student.text_BD), text_target, self.dispersion[1])
        return (image_B + text_B) / 2
