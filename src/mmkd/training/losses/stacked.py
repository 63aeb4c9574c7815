"""The stack of all teachers as one softmax: their cosines weighted and summed, for the student to follow.

Letters: B queries, K keys, T teachers, E a teacher's dimension.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.training.losses.contrastive import MASKED, kl_rows


def follow_stack(target_BK: Tensor, logits_BK: Tensor, key_BK: Tensor, other_BK: Tensor, others: float) -> Tensor:
    """KL from the softmax of the stack to that of the student, over the keys in key_BK, plus `others` times the
    student's surprise that the answer is among these and not among other_BK, which are surely wrong (B,).

    With others = 1 this is the KL over both kinds of keys from a stack that gives the wrong ones no probability.
    key_BK, other_BK: bool, no key in both; a query without a key in key_BK is the caller's to leave out.
    """
    asked_BK = logits_BK.masked_fill(~key_BK, MASKED)
    value_B = kl_rows(target_BK.masked_fill(~key_BK, MASKED), asked_BK)
    if not others:
        return value_B
    all_BK = logits_BK.masked_fill(~(key_BK | other_BK), MASKED)
    return value_B + others * (all_BK.logsumexp(dim=1) - asked_BK.logsumexp(dim=1))


def stack_logits(query: Sequence[Tensor], slope_BT: Tensor, key: Sequence[Tensor]) -> Tensor:
    """sum over t of slope_BT[b, t] * (query[t][b] . key[t][k]) (B, K).

    query, key: one (B, E) and one (K, E) a teacher, unit rows, zeros where it has no vector. Teachers are added one
    after the other, so that one of slope 0 changes no bit, and nothing larger than the result is held.
    """
    logits_BK = query[0].new_zeros(len(query[0]), len(key[0]))
    for t, (query_BE, key_KE) in enumerate(zip(query, key, strict=True)):
        logits_BK = torch.addmm(logits_BK, query_BE * slope_BT[:, t, None], key_KE.T)
    return logits_BK


def with_average(target_BK: Tensor, average_BK: Tensor, key_BK: Tensor, share: float) -> Tensor:
    """Log probabilities (B, K) of (1 - share) x softmax of target_BK + share x softmax of average_BK, over key_BK.

    Distributions are mixed and not logits, so that no scale of the one has to fit that of the other. share: 0..1, both
    exclusive.
    """
    target_BK, average_BK = (
        F.log_softmax(logits_BK.masked_fill(~key_BK, MASKED), dim=1) for logits_BK in (target_BK, average_BK)
    )
    return torch.logaddexp(target_BK + math.log1p(-share), average_BK + math.log(share))


def alike_captions(text: Sequence[Tensor], slope_BT: Tensor, key_text: Sequence[Tensor]) -> Tensor:
    """How much captions mean the same, 0..1 (B, K): exp(stack's logit of the two captions - that of equal ones).

    A picture that lay where one caption lies would be so many times likelier to have that caption than the other.
    text, key_text: one (B, E) and one (K, E) a teacher, unit rows.
    """
    return (stack_logits(text, slope_BT, key_text) - slope_BT.sum(dim=1, keepdim=True)).clamp(max=0.0).exp()


def comparable_keys(slope_BT: Tensor, has_KT: Tensor) -> Tensor:
    """The keys that a query is compared with (B, K) bool: those of which every teacher with a slope has a vector.

    A softmax over a part of the keys is the whole one given that part, so that a key left out does no harm; one whose
    sum lacks a teacher's share would stand too low or too high. has_KT: bool.
    """
    asked_BT, lacking_KT = (slope_BT > 0).to(slope_BT.dtype), (~has_KT).to(slope_BT.dtype)
    return asked_BT @ lacking_KT.T == 0


def has_vectors(key: Sequence[Tensor]) -> Tensor:
    """Which keys each teacher has a vector of (K, T) bool: unit rows have length 1, missing ones 0."""
    return torch.stack([key_KE.square().sum(dim=1) > 0.5 for key_KE in key], dim=1)


def caption_evidence(alike_BK: Tensor, given: Tensor) -> Tensor:
    """What the given captions of pictures add to the logits of what these may show (B, K): a log ratio of likelihoods.

    With probability 1 - wrong the given caption says what the picture shows; else it is a random one of the group:

        p(given | shown) / p(given)  =  wrong + (1 - wrong) * alike(given, shown) / commonness

    where commonness is the mean of alike(given, other) over the captions of the group.
    alike_BK: 0..1. given: of the captions given, `wrong` and the factor of `alike`, see `TeacherBatch`; (B, 1, 2) where
    they are the queries', (K, 2) where they are the keys'.
    """
    return (given[..., 0] + given[..., 1] * alike_BK).log()
