"""Relational distillation: images that a teacher separates stay separate in the student, and captions likewise.

Found by docs/results/ablations.md: alone it does not work (50.9 where affinity has 98.1).
Letters: B pairs, K keys, D dimension. Embeddings are L2-normalised.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.training.data.view import TeacherInputs, View
from mmkd.training.losses.memory import in_chunks


def mean_distance(key_KD: Tensor, key_K: Tensor) -> Tensor:
    """Mean of 1 - cosine over all ordered pairs of two different keys in key_K; 1 where there are no two.

    From the sum of the vectors, so no (K, K) matrix is made: sum over i, j of x_i . x_j = |sum of x|^2.
    """
    count = key_K.sum()
    taken_KD = key_KD * key_K[:, None]
    same = taken_KD.sum(dim=0).square().sum() - taken_KD.square().sum()
    return 1.0 - same / (count * (count - 1)).clamp(min=1)


def too_close(
    query_BD: Tensor,
    key_KD: Tensor,
    teacher_query_BE: Tensor,
    teacher_key_KE: Tensor,
    spread: Tensor,
    teacher_spread: Tensor,
    other_BK: Tensor,
) -> Tensor:
    """How much closer the student brings a row to the others than the teacher does, per row (B,).

    Distances are 1 - cosine, divided by their mean over the batch (`spread`, see `mean_distance`), since cones differ:
    images have a cosine of .1 on average in one teacher and of .7 in another. The cost is Huber's of the shortfall, a
    mean over the others that other_BK names, 0 where there are none. Asymmetric, with several teachers in mind: what
    one of them separates must stay separate, but one that sees no difference must not undo what another separated.
    Asymmetric too, by another formula: ARKD, arXiv 2512.20157. Distances over their mean: RKD, arXiv 1904.05068.
    """
    distance_BK = (1.0 - query_BD @ key_KD.T) / spread.clamp(min=1e-6)
    teacher_BK = (1.0 - teacher_query_BE @ teacher_key_KE.T) / teacher_spread.clamp(min=1e-6)
    short_BK = (teacher_BK - distance_BK).clamp(min=0.0)
    cost_BK = F.smooth_l1_loss(short_BK, torch.zeros_like(short_BK), reduction="none") * other_BK
    return cost_BK.sum(dim=1) / other_BK.sum(dim=1).clamp(min=1)


def relational_term(view: View, teacher: TeacherInputs) -> Tensor:
    """How much closer the student brings images, and captions, than the teacher: `too_close`, mean of both (B,).

    Pairs with an equal caption or image (`positive_BK`, the pair itself among them) are not its others.
    """
    other_BK = teacher.key_K & ~view.positive_BK

    def one_side(query_BD: Tensor, key_KD: Tensor, teacher_BE: Tensor, teacher_KE: Tensor) -> Tensor:
        spread, teacher_spread = mean_distance(key_KD, teacher.key_K), mean_distance(teacher_KE, teacher.key_K)

        def loss(query_BD: Tensor, teacher_BE: Tensor, other_BK: Tensor) -> Tensor:
            return too_close(query_BD, key_KD, teacher_BE, teacher_KE, spread, teacher_spread, other_BK)

        return in_chunks(loss, (query_BD, teacher_BE, other_BK), len(key_KD))

    image_B = one_side(view.own.image_BD, view.keys.image_BD, teacher.image_BE, teacher.key_image_KE)
    return (image_B + one_side(view.own.text_BD, view.keys.text_BD, teacher.text_BE, teacher.key_text_KE)) / 2
