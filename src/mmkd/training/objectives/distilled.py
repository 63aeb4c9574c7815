"""Distillation from all weighted teachers at every step: a main term, others beside it, and a contrastive share.

Affinity has the student's softmax over the batch follow each teacher's; the default, the term of the stack, that of all
teachers at once.

Letters: B own pairs, K keys, D student dimension, T teachers.
"""

import math

import torch
from torch import Tensor, nn

from mmkd.training.data.view import StepWeighting, TeacherInputs, View
from mmkd.training.experimental.heads import TeacherHeads
from mmkd.training.losses.contrastive import affinity
from mmkd.training.losses.memory import in_chunks
from mmkd.training.objectives.contrastive import CaptionTerm
from mmkd.training.objectives.objective import Objective, TeacherShape, teachers_of
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import TERMS, WEIGHTINGS

MAX_SCALE = 100.0  # of the trained scales, as CLIP's


def affinity_term(view: View, teacher: TeacherInputs) -> Tensor:
    """KL of the student's image-text softmax from the teacher's, mean of both ways (B,)."""

    def one_way(query_BD: Tensor, key_KD: Tensor, teacher_BE: Tensor, teacher_KE: Tensor) -> Tensor:
        def loss(query_BD: Tensor, teacher_BE: Tensor) -> Tensor:
            return affinity(query_BD, key_KD, view.own.scale, teacher_BE, teacher_KE, teacher.scale, teacher.key_K)

        return in_chunks(loss, (query_BD, teacher_BE), len(key_KD))

    forward_B = one_way(view.own.image_BD, view.keys.text_BD, teacher.image_BE, teacher.key_text_KE)
    backward_B = one_way(view.own.text_BD, view.keys.image_BD, teacher.text_BE, teacher.key_image_KE)
    return (forward_B + backward_B) / 2


class Distilled(Objective):
    """The terms of `TERMS` that the settings ask for, each a mean over pairs and teachers by the teachers' weights.

    A term of the stack is a mean over the pairs on which a teacher has a slope; one of patches, over the pairs on which
    a teacher that counts has patches.
    """

    def __init__(
        self, settings: DistillSettings, dim: int, shapes: list[TeacherShape], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.settings, self.scales = settings, [shape.scale for shape in shapes]
        self.weights = settings.weights
        terms = {name: term for name, term in TERMS.items() if name in self.weights}
        self.terms = {name: term.load() for name, term in terms.items() if not (term.stack or term.patches)}
        self.stacks = {name: term.load() for name, term in terms.items() if term.stack}
        self.patches = {name: term.load() for name, term in terms.items() if term.patches}
        self.captions = CaptionTerm(settings.pairwise) if "contrastive" in self.weights else None
        self.targets = nn.ModuleList(shape.target for shape in shapes)
        headed = shapes if any(term.heads for term in terms.values()) else []
        self.heads = nn.ModuleList(TeacherHeads(dim, shape.target.width, generator) for shape in headed)
        self.log_scale_T: nn.Parameter | None = None
        if any(term.scale for term in terms.values()):
            self.log_scale_T = nn.Parameter(torch.tensor([math.log(min(scale, MAX_SCALE)) for scale in self.scales]))
        weighting = WEIGHTINGS[settings.weighting].load_step() or StepWeighting
        self.weighting: StepWeighting = weighting(settings, list(self.terms), len(shapes))

    def learn_from_captions(self) -> None:
        """Add the caption term at full weight although the contrastive share is 0.

        For batches in which only pairs without a teacher have a weight of their caption: as a mean over all pairs it
        has their share of the batch.
        """
        self.weights = {**self.weights, "contrastive": 1.0}
        self.captions = CaptionTerm(self.settings.pairwise)

    def forward(self, view: View) -> dict[str, Tensor]:
        found = self._of_teachers(view) if self.terms else {}
        for name, term in {**self.stacks, **(self.patches if view.whole else {})}.items():
            found[name] = _mean(view, *term(view, self.settings))
        if self.captions is not None:
            found["contrastive"] = self.captions(view)
        return found

    def _of_teachers(self, view: View) -> dict[str, Tensor]:
        """The terms that see one teacher at a time."""
        own, _ = teachers_of(view)
        teachers = self._inputs(view)
        weight_BT = own.weight_BT * (own.weight_BT > self.settings.min_weight)
        of_term = self.weighting.of_step(view, teachers, weight_BT)
        found = {}
        for name, term in self.terms.items():
            values = torch.stack([term(view, teacher) for teacher in teachers], dim=1)
            found[name] = _mean(view, *of_term(name, values))
        return found

    def _inputs(self, view: View) -> list[TeacherInputs]:
        own, keys = teachers_of(view)
        weighted_KT = keys.weight_BT > self.settings.min_weight
        scale_T = None if self.log_scale_T is None else self.log_scale_T.clamp(max=math.log(MAX_SCALE)).exp()
        return [
            TeacherInputs(
                image_BE=own.image[t],
                text_BE=own.text[t],
                key_image_KE=keys.image[t],
                key_text_KE=keys.text[t],
                key_K=weighted_KT[:, t],
                scale=scale,
                target=self.targets[t],
                head_loss=self.settings.head_loss,
                head=self.heads[t] if self.heads else None,
                query_scale=None if scale_T is None else scale_T[t],
            )
            for t, scale in enumerate(self.scales)
        ]


def _mean(view: View, value: Tensor, counted: Tensor) -> Tensor:
    """Mean of values, of pairs or of pairs and teachers, by how much each counts."""
    # not every term reads the scale, but each weight needs a gradient: processes and checkpoints count on it
    return view.mean((value * counted).sum() + 0.0 * view.own.scale, counted.sum())
