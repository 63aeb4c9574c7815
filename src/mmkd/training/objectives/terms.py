"""What one teacher can ask of the student, each with a value per own pair; `TERMS` names them.

Letters: B own pairs, K keys, D student dimension, E dimension of a teacher.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.reliability.targets import TargetMap
from mmkd.training.data.view import View
from mmkd.training.losses.affinity import affinity
from mmkd.training.losses.contrastive import info_nce
from mmkd.training.losses.feature import cosine_distance, smooth_l1, squared_angle
from mmkd.training.losses.memory import in_chunks
from mmkd.training.losses.relational import mean_distance, too_close
from mmkd.training.objectives.heads import TeacherHeads

Fixture = TypeVar("Fixture")
Side = Callable[[Tensor], Tensor]
HEAD_CELLS = 8  # numbers that a head holds of a row while it is trained, in multiples of the student's dimension

HEAD_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "angle": squared_angle,
    "cosine": lambda predicted_BE, target_BE, _dispersion: cosine_distance(predicted_BE, target_BE),
    "smooth_l1": lambda predicted_BE, target_BE, _dispersion: smooth_l1(predicted_BE, target_BE),
}


@dataclass(frozen=True)
class Lesson:
    """One teacher in one step: its vectors of own pairs and keys, on which keys it is trusted, and its fixtures.

    scale: of its softmax. head, query_scale: trained for it where a term needs them; head_loss: see DistillSettings.
    """

    image_BE: Tensor
    text_BE: Tensor
    key_image_KE: Tensor
    key_text_KE: Tensor
    key_K: Tensor
    scale: float
    target: TargetMap
    head_loss: str
    head: TeacherHeads | None = None
    query_scale: Tensor | None = None


def affinity_term(view: View, lesson: Lesson) -> Tensor:
    """KL of the student's image-text softmax from the teacher's, mean of both ways (B,)."""

    def one_way(query_BD: Tensor, key_KD: Tensor, teacher_BE: Tensor, teacher_KE: Tensor) -> Tensor:
        def loss(query_BD: Tensor, teacher_BE: Tensor) -> Tensor:
            return affinity(query_BD, key_KD, view.own.scale, teacher_BE, teacher_KE, lesson.scale, lesson.key_K)

        return in_chunks(loss, (query_BD, teacher_BE), len(key_KD))

    forward_B = one_way(view.own.image_BD, view.keys.text_BD, lesson.image_BE, lesson.key_text_KE)
    backward_B = one_way(view.own.text_BD, view.keys.image_BD, lesson.text_BE, lesson.key_image_KE)
    return (forward_B + backward_B) / 2


def heads_term(view: View, lesson: Lesson) -> Tensor:
    """How far the heads are from the teacher's targets, mean of both sides (B,)."""
    distance, head, target = HEAD_LOSSES[lesson.head_loss], _given(lesson.head), lesson.target

    def one_side(side: nn.Module, own_BD: Tensor, target_of: Side, teacher_BE: Tensor, spread: float) -> Tensor:
        def loss(own_BD: Tensor, teacher_BE: Tensor) -> Tensor:
            return distance(side(own_BD), target_of(teacher_BE), spread)

        return in_chunks(loss, (own_BD, teacher_BE), HEAD_CELLS * own_BD.shape[1])

    image_B = one_side(head.image, view.own.image_BD, target.image, lesson.image_BE, target.image_dispersion)
    return (image_B + one_side(head.text, view.own.text_BD, target.text, lesson.text_BE, target.text_dispersion)) / 2


def interactive_term(view: View, lesson: Lesson) -> Tensor:
    """The student's images, through the head, find their captions among the teacher's, and the other way round (B,)."""
    head, scale = _given(lesson.head), _given(lesson.query_scale)

    def one_way(side: nn.Module, own_BD: Tensor, target_KE: Tensor) -> Tensor:
        key_KE = F.normalize(target_KE, dim=1)

        def loss(own_BD: Tensor, positive_BK: Tensor) -> Tensor:
            return info_nce(F.normalize(side(own_BD), dim=1), key_KE, scale, positive_BK, lesson.key_K)

        return in_chunks(loss, (own_BD, view.positive_BK), len(key_KE))

    forward_B = one_way(head.image, view.own.image_BD, lesson.target.text(lesson.key_text_KE))
    return (forward_B + one_way(head.text, view.own.text_BD, lesson.target.image(lesson.key_image_KE))) / 2


def relational_term(view: View, lesson: Lesson) -> Tensor:
    """How much closer the student brings pictures, and captions, than the teacher: `too_close`, mean of both (B,).

    A pair's equals (`positive_BK`, itself among them) are not its others.
    """
    other_BK = lesson.key_K & ~view.positive_BK

    def one_side(query_BD: Tensor, key_KD: Tensor, teacher_BE: Tensor, teacher_KE: Tensor) -> Tensor:
        spread, teacher_spread = mean_distance(key_KD, lesson.key_K), mean_distance(teacher_KE, lesson.key_K)

        def loss(query_BD: Tensor, teacher_BE: Tensor, other_BK: Tensor) -> Tensor:
            return too_close(query_BD, key_KD, teacher_BE, teacher_KE, spread, teacher_spread, other_BK)

        return in_chunks(loss, (query_BD, teacher_BE, other_BK), len(key_KD))

    image_B = one_side(view.own.image_BD, view.keys.image_BD, lesson.image_BE, lesson.key_image_KE)
    return (image_B + one_side(view.own.text_BD, view.keys.text_BD, lesson.text_BE, lesson.key_text_KE)) / 2


TERMS: dict[str, Callable[[View, Lesson], Tensor]] = {
    "affinity": affinity_term,
    "heads": heads_term,
    "interactive": interactive_term,
    "relational": relational_term,
}
WITH_HEADS = ("heads", "interactive")  # these see the teacher through its heads


def _given(found: Fixture | None) -> Fixture:
    if found is None:
        raise TypeError("a term with heads was asked of an objective that has none; see WITH_HEADS")
    return found
