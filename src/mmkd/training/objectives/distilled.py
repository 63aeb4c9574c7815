"""Every trusted teacher at every step: a main term, others beside it, and a share of the captions.

Letters: B own pairs, K keys, D student dimension, T teachers.
"""

import math

import torch
from torch import Tensor, nn

from mmkd.reliability.targets import TargetMap
from mmkd.training.data.view import View
from mmkd.training.objectives.contrastive import CaptionTerm
from mmkd.training.objectives.heads import TeacherHeads
from mmkd.training.objectives.objective import Objective, TeacherShape, teachers_of
from mmkd.training.objectives.terms import TERMS, WITH_HEADS, Lesson
from mmkd.training.objectives.weighting import draws, dropped, own_probability, uncertain
from mmkd.training.settings.distill import DistillSettings

MAX_SCALE = 100.0  # of the trained scales, as CLIP's


def term_weights(settings: DistillSettings) -> dict[str, float]:
    """How the terms add up: the main one has what the captions leave; terms of weight 0 are left out."""
    beside = {"heads": settings.heads, "interactive": settings.interactive, "relational": settings.relational}
    weights = beside | {settings.objective: 1.0 - settings.contrastive, "contrastive": settings.contrastive}
    return {name: weight for name, weight in weights.items() if weight > 0}


class Distilled(Objective):
    """The terms of `TERMS` that the settings ask for, each a mean over pairs and teachers by the teachers' weights."""

    def __init__(
        self, settings: DistillSettings, dim: int, shapes: list[TeacherShape], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings, self.scales = settings, [shape.scale for shape in shapes]
        self.weights = term_weights(settings)
        self.terms = [name for name in TERMS if name in self.weights]
        self.captions = CaptionTerm(settings.pairwise) if "contrastive" in self.weights else None
        self.targets = nn.ModuleList(TargetMap(shape.target) for shape in shapes)
        headed = shapes if set(self.terms) & set(WITH_HEADS) else []
        self.heads = nn.ModuleList(TeacherHeads(dim, shape.target.width, generator) for shape in headed)
        self.log_scale_T: nn.Parameter | None = None
        if "interactive" in self.terms:
            self.log_scale_T = nn.Parameter(torch.tensor([math.log(min(scale, MAX_SCALE)) for scale in self.scales]))
        uncertain_terms = self.terms if settings.weighting == "uncertainty" else []
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(len(shapes))) for name in uncertain_terms})

    def forward(self, view: View) -> dict[str, Tensor]:
        teachers, _ = teachers_of(view)
        lessons = self._lessons(view)
        weight_BT = teachers.weight_BT * (teachers.weight_BT > self.settings.min_weight)
        if self.settings.weighting == "confidence":
            said_BT = torch.stack([own_probability(view, lesson) for lesson in lessons], dim=1)
            weight_BT = weight_BT * said_BT**self.settings.confidence
        draw_BT = draws(view, len(lessons)) if self.settings.weighting == "dropping" else None
        found = {}
        for name in self.terms:
            value_BT = torch.stack([TERMS[name](view, lesson) for lesson in lessons], dim=1)
            found[name] = self._mean(view, name, value_BT, weight_BT, draw_BT)
        if self.captions is not None:
            found["contrastive"] = self.captions(view)
        return found

    def _mean(self, view: View, name: str, value_BT: Tensor, weight_BT: Tensor, draw_BT: Tensor | None) -> Tensor:
        if draw_BT is not None:
            weight_BT = dropped(weight_BT, value_BT, draw_BT, self.settings.keep)
        if name in self.log_variance:
            value_BT = uncertain(value_BT, self.log_variance[name])
        # not every term looks at the scale, but each weight needs a gradient: processes and checkpoints count on it
        return view.mean((value_BT * weight_BT).sum() + 0.0 * view.own.scale, weight_BT.sum())

    def _lessons(self, view: View) -> list[Lesson]:
        own, keys = teachers_of(view)
        trusted_KT = keys.weight_BT > self.settings.min_weight
        scale_T = None if self.log_scale_T is None else self.log_scale_T.clamp(max=math.log(MAX_SCALE)).exp()
        return [
            Lesson(
                image_BE=own.image[t],
                text_BE=own.text[t],
                key_image_KE=keys.image[t],
                key_text_KE=keys.text[t],
                key_K=trusted_KT[:, t],
                scale=scale,
                target=self.targets[t],  # type: ignore[arg-type]
                head_loss=self.settings.head_loss,
                head=self.heads[t] if self.heads else None,  # type: ignore[arg-type]
                query_scale=None if scale_T is None else scale_T[t],
            )
            for t, scale in enumerate(self.scales)
        ]
