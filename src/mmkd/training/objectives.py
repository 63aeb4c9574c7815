"""What a stage minimises: a table of objectives, each a composition of pure losses.

An objective returns its named losses; `weights` says how they add up, so logs stay comparable between recipes.
Letters: B pairs, D student dimension, K teachers.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.training import losses
from mmkd.training.settings import DistillSettings


@dataclass(frozen=True)
class Embedded:
    """The student's view of a batch: unit vectors and exp(logit_scale)."""

    image_BD: Tensor
    text_BD: Tensor
    scale: Tensor


@dataclass(frozen=True)
class TeacherBatch:
    """The teachers' view of it. image, text: one float32 (B, D_k) a teacher, zeros where missing.

    weight_BK: calibrated trust, 0 where missing. available_BK: which teachers the reference recipe may draw.
    """

    image: list[Tensor]
    text: list[Tensor]
    weight_BK: Tensor
    available_BK: Tensor


@dataclass(frozen=True)
class TeacherShape:
    """What an objective must know of a teacher before it sees features."""

    dim: int
    scale: float
    image_dispersion: float
    text_dispersion: float
    image_mean: Tensor
    text_mean: Tensor


class Objective(Protocol):
    """weights: loss name -> factor. May hold parameters of its own, which are trained and thrown away."""

    weights: dict[str, float]

    def __call__(
        self, student: Embedded, positive_BB: Tensor, teachers: TeacherBatch | None, generator: torch.Generator
    ) -> dict[str, Tensor]: ...

    def parameters(self) -> "list[nn.Parameter]": ...


class Contrastive(nn.Module):
    """The CLIP loss alone: stage 1, and stage 1 continued."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {"contrastive": 1.0}

    def forward(
        self, student: Embedded, positive_BB: Tensor, teachers: TeacherBatch | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"contrastive": losses.contrastive(student.image_BD, student.text_BD, student.scale, positive_BB)}


class Affinity(nn.Module):
    """Every trusted teacher's image-text softmax at every step, weighted by what calibration found; optional heads."""

    def __init__(self, settings: DistillSettings, dim: int, shapes: list[TeacherShape]) -> None:
        super().__init__()
        self.settings, self.shapes = settings, shapes
        share = settings.contrastive
        self.weights = {"contrastive": share, "affinity": 1.0 - share, "heads": settings.heads}
        self.weights = {name: weight for name, weight in self.weights.items() if weight > 0}
        self.heads = nn.ModuleList(TeacherHeads(dim, shape) for shape in shapes) if settings.heads else None

    def forward(
        self, student: Embedded, positive_BB: Tensor, teachers: TeacherBatch | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if teachers is None:
            raise ValueError("the affinity objective needs teacher features")
        found = {"affinity": self._affinity(student, teachers)}
        if self.settings.contrastive:
            found["contrastive"] = losses.contrastive(student.image_BD, student.text_BD, student.scale, positive_BB)
        if self.heads is not None:
            found["heads"] = self._heads(student, teachers)
        return found

    def _affinity(self, student: Embedded, teachers: TeacherBatch) -> Tensor:
        total, norm = student.image_BD.sum() * 0.0, student.image_BD.new_zeros(())
        for k, shape in enumerate(self.shapes):
            row_n = (teachers.weight_BK[:, k] > self.settings.min_weight).nonzero().squeeze(1)
            if len(row_n) < 2:  # a softmax over one pair says nothing
                continue
            target = shape.scale * teachers.image[k][row_n] @ teachers.text[k][row_n].T
            part, weight = losses.affinity(
                student.image_BD[row_n], student.text_BD[row_n], student.scale, target, teachers.weight_BK[row_n, k]
            )
            total, norm = total + part, norm + weight
        return total / norm.clamp(min=1e-6)

    def _heads(self, student: Embedded, teachers: TeacherBatch) -> Tensor:
        total, norm = student.image_BD.sum() * 0.0, student.image_BD.new_zeros(())
        for k, head in enumerate(self.heads or []):
            weight_B = teachers.weight_BK[:, k]
            angle_B = head(student, teachers.image[k], teachers.text[k])
            total, norm = total + (angle_B * weight_B).sum(), norm + weight_B.sum()
        return total / norm.clamp(min=1e-6)


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
        image_B = losses.squared_angle(self.image(student.image_BD), image_target, self.dispersion[0])
        text_B = losses.squared_angle(self.text(student.text_BD), text_target, self.dispersion[1])
        return (image_B + text_B) / 2


class Mmkd(nn.Module):
    """The reference recipe: contrastive + 50 x MSE + interactive, against one random available teacher a sample.

    A teacher's features pass through its frozen projection to the student's dimension; like the stored ones of the
    public data they are not normalised there. Negatives of the interactive term come from whatever teacher was drawn.
    """

    def __init__(self, settings: DistillSettings, projections: list[nn.Module]) -> None:
        super().__init__()
        self.scale = settings.mmkd.scale
        self.weights = {"contrastive": 1.0, "feature_distance": settings.mmkd.fd, "interactive": settings.mmkd.icl}
        self.projections = nn.ModuleList(projections).requires_grad_(False)

    def forward(
        self, student: Embedded, positive_BB: Tensor, teachers: TeacherBatch | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        if teachers is None:
            raise ValueError("the mmkd objective needs teacher features")
        drawn_B = draw_teacher(teachers.available_BK, generator)
        image_BD, text_BD = (self._target(side, drawn_B, student.image_BD) for side in (teachers.image, teachers.text))
        s = student
        return {
            "contrastive": losses.contrastive(s.image_BD, s.text_BD, s.scale, positive_BB),
            "feature_distance": losses.feature_distance(s.image_BD, s.text_BD, image_BD, text_BD),
            "interactive": losses.interactive(s.image_BD, s.text_BD, image_BD, text_BD, self.scale),
        }

    def _target(self, side: list[Tensor], drawn_B: Tensor, like_BD: Tensor) -> Tensor:
        target_BD = torch.zeros_like(like_BD)
        for k, projection in enumerate(self.projections):
            row_n = (drawn_B == k).nonzero().squeeze(1)
            target_BD[row_n] = projection(side[k][row_n]).to(target_BD.dtype)
        return target_BD


def draw_teacher(available_BK: Tensor, generator: torch.Generator) -> Tensor:
    """One available teacher a row, uniformly (B,); every row needs at least one."""
    return torch.multinomial(available_BK.float().cpu(), 1, generator=generator).squeeze(1).to(available_BK.device)
