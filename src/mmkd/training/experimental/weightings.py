"""Weightings other than the default's.

Found by docs/results/ablations.md: `best`, `dropping` change nothing; `trusted`, `confidence` cost 1 to 1.5 points,
`everyone`, `per_sample`, `uncertainty` 8 to 10. Letters: N training pairs, B own pairs, K keys, T teachers.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.training.data.view import OfTerm, StepWeighting, TeacherInputs, View, uniform
from mmkd.training.losses.contrastive import MASKED
from mmkd.training.losses.memory import in_chunks
from mmkd.training.settings.distill import DistillSettings


def everyone(soft_NT: np.ndarray, available_NT: np.ndarray) -> np.ndarray:
    """The same weight for all teachers."""
    return np.ones_like(soft_NT)


def per_sample(soft_NT: np.ndarray, available_NT: np.ndarray) -> np.ndarray:
    """The same weight for all teachers that are available on the pair."""
    return available_NT.astype(np.float32)


def trusted(soft_NT: np.ndarray, available_NT: np.ndarray) -> np.ndarray:
    """The same weight for all teachers that have one."""
    return (soft_NT > 0).astype(np.float32)


def best(soft_NT: np.ndarray, available_NT: np.ndarray) -> np.ndarray:
    """Weight for the best teacher of the pair's group only, or for several equal ones."""
    best_N1 = soft_NT.max(axis=1, keepdims=True)
    return np.asarray((soft_NT == best_N1) & (best_N1 > 0), dtype=np.float32)


class Confidence(StepWeighting):
    """Weights times the teacher's probability of the pair, to a power."""

    settings: DistillSettings

    def of_step(self, view: View, teachers: Sequence[TeacherInputs], weight_BT: Tensor) -> OfTerm:
        probability_BT = torch.stack([own_probability(view, teacher) for teacher in teachers], dim=1)
        weight_BT = weight_BT * probability_BT**self.settings.confidence
        return lambda _name, value_BT: (value_BT, weight_BT)


class Dropping(StepWeighting):
    """At each step the teacher with the largest loss on a pair, and each other one with a probability."""

    settings: DistillSettings

    def of_step(self, view: View, teachers: Sequence[TeacherInputs], weight_BT: Tensor) -> OfTerm:
        draw_BT = draws(view, len(teachers))
        return lambda _name, value_BT: (value_BT, dropped(weight_BT, value_BT, draw_BT, self.settings.keep))


class Uncertainty(StepWeighting):
    """A trained variance for each term and teacher."""

    def __init__(self, settings: DistillSettings, terms: Sequence[str], teachers: int) -> None:
        super().__init__(settings, terms, teachers)
        self.log_variance = nn.ParameterDict({name: nn.Parameter(torch.zeros(teachers)) for name in terms})

    def of_step(self, view: View, teachers: Sequence[TeacherInputs], weight_BT: Tensor) -> OfTerm:
        return lambda name, value_BT: (uncertain(value_BT, self.log_variance[name]), weight_BT)


@torch.no_grad()
def own_probability(view: View, teacher: TeacherInputs) -> Tensor:
    """The teacher's softmax probability of a pair's own caption (or an equal one) and own image, their mean (B,).

    Over the keys on which the teacher has a weight; 0 where it has none on the pair.
    """

    def one_way(query_BE: Tensor, key_KE: Tensor) -> Tensor:
        def probability(query_BE: Tensor, positive_BK: Tensor) -> Tensor:
            logits_BK = (teacher.scale * query_BE @ key_KE.T).masked_fill(~teacher.key_K, MASKED)
            return (F.softmax(logits_BK, dim=1) * (positive_BK & teacher.key_K)).sum(dim=1)

        return in_chunks(probability, (query_BE, view.positive_BK), len(key_KE))

    return (one_way(teacher.image_BE, teacher.key_text_KE) + one_way(teacher.text_BE, teacher.key_image_KE)) / 2


def draws(view: View, teachers: int) -> Tensor:
    """Uniform numbers 0..1 of the own pairs (B, T), drawn for all pairs so that every process draws the same."""
    drawn_KT = uniform((len(view.keys.image_BD), teachers), view.generator, view.own.image_BD.device)
    return drawn_KT[view.own_keys]


def dropped(weight_BT: Tensor, value_BT: Tensor, draw_BT: Tensor, keep: float) -> Tensor:
    """The weights (B, T) of the teacher with the largest loss and of each other one with probability `keep`; UNIC.

    Per pair, among the teachers with a weight there; from naver/unic, arXiv 2408.05088.
    """
    candidate_BT = value_BT.detach().masked_fill(weight_BT <= 0, -torch.inf)
    largest_BT = F.one_hot(candidate_BT.argmax(dim=1), value_BT.shape[1]).bool()
    return weight_BT * (largest_BT | (draw_BT < keep))


def uncertain(value_BT: Tensor, log_variance_T: Tensor) -> Tensor:
    """exp(-s) x loss + s for each teacher (B, T): a trained variance lowers the weight of one that cannot be followed.

    arXiv 1705.07115, in the form without its factors of one half.
    """
    return torch.exp(-log_variance_T) * value_BT + log_variance_T
