"""Light heads from the student's vectors to each teacher's, discarded after training, and the two terms through them.

Found by docs/results/ablations.md: alone they do not work (59.7 and 49.7 where affinity has 98.1), beside affinity they
change nothing. Letters: B own pairs, K keys, D student dimension, E dimension of a teacher's targets.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.training.data.view import TeacherInputs, View
from mmkd.training.losses.contrastive import info_nce
from mmkd.training.losses.memory import in_chunks

WIDEN = 2  # hidden units of a head, in multiples of the student's dimension
HEAD_CELLS = 8  # numbers that a head holds of a row while it is trained, in multiples of the student's dimension
Side = Callable[[Tensor], Tensor]


def cosine_distance(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """1 - cosine, 0..2, per row (B,). The inputs need not be normalised."""
    return 1.0 - F.cosine_similarity(predicted_BD, target_BD, dim=1)


def squared_angle(predicted_BD: Tensor, target_BD: Tensor, dispersion: float) -> Tensor:
    """Squared angle (radian^2) over the teacher's angular dispersion, per row (B,); C-RADIOv4, arXiv 2601.17237.

    1 means as far off as the teacher's own vectors are from their mean. The inputs need not be normalised.
    """
    cosine_B = F.cosine_similarity(predicted_BD, target_BD, dim=1)
    # the derivative of acos is infinite at 1: stay half a millidegree away from it
    angle_B = torch.acos(cosine_B.clamp(-1 + 1e-7, 1 - 1e-7))
    return angle_B.square() / dispersion


def squared_error(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean over the dimensions of the squared difference, per row (B,)."""
    return (predicted_BD - target_BD).square().mean(dim=1)


def smooth_l1(predicted_BD: Tensor, target_BD: Tensor) -> Tensor:
    """Mean over the dimensions of d^2 / 2 where the difference d is below 1, |d| - 1/2 above, per row (B,)."""
    return F.smooth_l1_loss(predicted_BD, target_BD, reduction="none").mean(dim=1)


HEAD_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "angle": squared_angle,
    "cosine": lambda predicted_BE, target_BE, _dispersion: cosine_distance(predicted_BE, target_BE),
    "smooth_l1": lambda predicted_BE, target_BE, _dispersion: smooth_l1(predicted_BE, target_BE),
}


class TeacherHeads(nn.Module):
    """One head a side for one teacher, (B, D) to (B, E): a layer norm and two linear layers."""

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.image, self.text = (
            nn.Sequential(
                nn.LayerNorm(dim), linear(dim, WIDEN * dim, generator), nn.GELU(), linear(WIDEN * dim, width, generator)
            )
            for _ in range(2)
        )


def linear(inward: int, outward: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with torch's own distribution of first weights, drawn from a generator that is passed in."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inward, outward)  # type: ignore[no-untyped-call]
    bound = 1 / math.sqrt(inward)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def heads_term(view: View, teacher: TeacherInputs) -> Tensor:
    """How far the heads are from the teacher's targets, mean of both sides (B,)."""
    distance, head, target = HEAD_LOSSES[teacher.head_loss], teacher.head, teacher.target

    def one_side(side: nn.Module, own_BD: Tensor, target_of: Side, teacher_BE: Tensor, spread: float) -> Tensor:
        def loss(own_BD: Tensor, teacher_BE: Tensor) -> Tensor:
            return distance(side(own_BD), target_of(teacher_BE), spread)

        return in_chunks(loss, (own_BD, teacher_BE), HEAD_CELLS * own_BD.shape[1])

    image_B = one_side(head.image, view.own.image_BD, target.image, teacher.image_BE, target.image_dispersion)
    return (image_B + one_side(head.text, view.own.text_BD, target.text, teacher.text_BE, target.text_dispersion)) / 2


def interactive_term(view: View, teacher: TeacherInputs) -> Tensor:
    """The student's images, through the head, find their captions among the teacher's, and the other way round (B,)."""
    head = teacher.head

    def one_way(side: nn.Module, own_BD: Tensor, target_KE: Tensor) -> Tensor:
        key_KE = F.normalize(target_KE, dim=1)

        def loss(own_BD: Tensor, positive_BK: Tensor) -> Tensor:
            query_BE = F.normalize(side(own_BD), dim=1)
            return info_nce(query_BE, key_KE, teacher.query_scale, positive_BK, teacher.key_K)  # type: ignore[arg-type]

        return in_chunks(loss, (own_BD, view.positive_BK), len(key_KE))

    forward_B = one_way(head.image, view.own.image_BD, teacher.target.text(teacher.key_text_KE))
    return (forward_B + one_way(head.text, view.own.text_BD, teacher.target.image(teacher.key_image_KE))) / 2
