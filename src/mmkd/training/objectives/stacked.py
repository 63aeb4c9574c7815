"""The term `stacked`: the student's softmax follows one softmax of all teachers' weighted cosines.

Letters: B own pairs, K keys, D student dimension, T teachers, E a teacher's dimension.
"""

from torch import Tensor

from mmkd.errors import ConfigError
from mmkd.training.data.view import View
from mmkd.training.losses.memory import in_chunks
from mmkd.training.losses.stacked import (
    alike_captions,
    caption_evidence,
    comparable_keys,
    follow_stack,
    has_vectors,
    stack_logits,
    with_average,
)
from mmkd.training.objectives.objective import teachers_of
from mmkd.training.settings.distill import DistillSettings

OfAverage = tuple[Tensor, Tensor] | None
"""Queries times scale (B, D) and keys (K, D) of the average, one way; None where it has no share."""


def stacked_term(view: View, settings: DistillSettings) -> tuple[Tensor, Tensor]:
    """KL of the student's image-text softmax from the stack's, mean of both ways (B,), and which pairs count (B,).

    The stack's logits are the teachers' cosines times the slopes of the query's group, times `sharpness`. Keys of the
    query's group take part of which every teacher with a slope has features, as in the fit of the slopes; keys of other
    groups are wrong ones that count by `other_groups`. With `self_teacher` a share of the target is the softmax of the
    view's `average` over the same keys. Pairs on which no teacher has a slope count 0, all others 1.

    Raises ConfigError without slopes, or without the average that is to teach.
    """
    own, keys = teachers_of(view)
    if own.slope_BT is None or own.group_B is None or keys.group_B is None:
        raise ConfigError('the term "stacked" needs the slopes of the teachers; set [reliability] method = "stacking"')
    slope_BT, own_group_B, group_K = settings.sharpness * own.slope_BT, own.group_B, keys.group_B
    has_KT, teachers = has_vectors(keys.image), len(keys.image)
    average_forward, average_backward = _average_of(view, settings)

    def one_way(
        query_BD: Tensor,
        key_KD: Tensor,
        teacher_query: list[Tensor],
        teacher_key: list[Tensor],
        given_K: Tensor | None,
        average: OfAverage,
    ) -> Tensor:
        def loss(query_BD: Tensor, slope_BT: Tensor, group_B: Tensor, *more: Tensor) -> Tensor:
            target_BK = stack_logits(more[:teachers], slope_BT, teacher_key)
            if own.given_B2 is not None:
                given_B2, *text = more[teachers : 2 * teachers + 1]
                alike_BK = alike_captions(text, slope_BT, keys.text)
                target_BK = target_BK + caption_evidence(alike_BK, given_B2[:, None] if given_K is None else given_K)
            logits_BK = view.own.scale * query_BD @ key_KD.T
            same_BK = group_B[:, None] == group_K
            key_BK = comparable_keys(slope_BT, has_KT) & same_BK
            if average is not None:
                target_BK = with_average(target_BK, more[-1] @ average[1].T, key_BK, settings.self_teacher)
            return follow_stack(target_BK, logits_BK, key_BK, ~same_BK, settings.other_groups)

        evidence = () if own.given_B2 is None else (own.given_B2, *own.text)
        averaged = () if average is None else average[:1]
        rows = (query_BD, slope_BT, own_group_B, *teacher_query, *evidence, *averaged)
        return in_chunks(loss, rows, len(key_KD))

    forward_B = one_way(view.own.image_BD, view.keys.text_BD, own.image, keys.text, None, average_forward)
    backward_B = one_way(view.own.text_BD, view.keys.image_BD, own.text, keys.image, keys.given_B2, average_backward)
    return (forward_B + backward_B) / 2, (slope_BT > 0).any(dim=1).to(forward_B.dtype)


def _average_of(view: View, settings: DistillSettings) -> tuple[OfAverage, OfAverage]:
    """From pictures to captions, and back."""
    if not settings.self_teacher:
        return None, None
    own, keys = view.average, view.average_keys
    if own is None or keys is None:
        raise ConfigError("self_teacher needs the average of the student's weights; set ema above 0, as to 0.99")
    return (own.scale * own.image_BD, keys.text_BD), (own.scale * own.text_BD, keys.image_BD)
