"""Weightings that depend on the step: what each teacher says of the pair, and how much it has to say.

Letters: B own pairs, K keys, T teachers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.training.data.view import View, uniform
from mmkd.training.losses.contrastive import MASKED
from mmkd.training.losses.memory import in_chunks
from mmkd.training.objectives.objective import own_keys
from mmkd.training.objectives.terms import Lesson


@torch.no_grad()
def own_probability(view: View, lesson: Lesson) -> Tensor:
    """The teacher's softmax probability of a pair's own caption (or an equal one) and own image, their mean (B,).

    Over the keys on which the teacher is trusted; 0 where it is not trusted on the pair.
    """

    def one_way(query_BE: Tensor, key_KE: Tensor) -> Tensor:
        def probability(query_BE: Tensor, positive_BK: Tensor) -> Tensor:
            logits_BK = (lesson.scale * query_BE @ key_KE.T).masked_fill(~lesson.key_K, MASKED)
            return (F.softmax(logits_BK, dim=1) * (positive_BK & lesson.key_K)).sum(dim=1)

        return in_chunks(probability, (query_BE, view.positive_BK), len(key_KE))

    return (one_way(lesson.image_BE, lesson.key_text_KE) + one_way(lesson.text_BE, lesson.key_image_KE)) / 2


def draws(view: View, teachers: int) -> Tensor:
    """Uniform numbers 0..1 of the own pairs (B, T), drawn for all pairs so that every process draws the same."""
    drawn_KT = uniform((len(view.keys.image_BD), teachers), view.generator, view.own.image_BD.device)
    return drawn_KT[own_keys(view)]


def dropped(weight_BT: Tensor, value_BT: Tensor, draw_BT: Tensor, keep: float) -> Tensor:
    """The weights (B, T) of the teacher with the largest loss and of each other one with probability `keep`; UNIC.

    Per pair, among the teachers with a weight there; from naver/unic, arXiv 2408.05088.
    """
    rival_BT = value_BT.detach().masked_fill(weight_BT <= 0, -torch.inf)
    largest_BT = F.one_hot(rival_BT.argmax(dim=1), value_BT.shape[1]).bool()
    return weight_BT * (largest_BT | (draw_BT < keep))


def uncertain(value_BT: Tensor, log_variance_T: Tensor) -> Tensor:
    """exp(-s) x loss + s for each teacher (B, T): a trained variance lowers the voice of one that cannot be followed.

    arXiv 1705.07115, in the form without its factors of one half.
    """
    return torch.exp(-log_variance_T) * value_BT + log_variance_T
