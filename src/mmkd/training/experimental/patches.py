"""The term `patches`: the patches of a picture are alike in the student as they are in the teachers. No heads.

No gain is measured (docs/results/ablations.md).
Letters: B own pairs, T teachers, P patches of a picture, E their width.
"""

import torch
from torch import Tensor

from mmkd.errors import ConfigError
from mmkd.training.data.view import View
from mmkd.training.settings.distill import DistillSettings


def cosines(patch_BPE: Tensor) -> Tensor:
    """Of the patches of each picture, unit vectors, with one another (B, P, P)."""
    return patch_BPE @ patch_BPE.transpose(1, 2)


def centred(cosine_PP: Tensor) -> Tensor:
    """Cosines (..., P, P) minus their mean over pairs of two different patches; 0 on the diagonal."""
    count = cosine_PP.shape[-1]
    other_PP = 1.0 - torch.eye(count, device=cosine_PP.device, dtype=cosine_PP.dtype)
    mean = (cosine_PP * other_PP).sum(dim=(-2, -1), keepdim=True) / (count * (count - 1))
    return (cosine_PP - mean) * other_PP


def unlike(student_PP: Tensor, teacher_PP: Tensor) -> Tensor:
    """Mean squared difference of two matrices of cosines (..., P, P), each minus its mean, off the diagonal (...).

    Squared differences of patches' cosines: Structured Knowledge Distillation, arXiv 1903.04197; as an anchor of patch
    features also in DINOv3, arXiv 2508.10104. The means are taken out because towers differ in them: the tokens of one
    lie in a narrower cone than those of another. A softmax of the rows would need a temperature for each teacher, which
    nothing in the corpus fits as the captions fit those of whole pictures.
    """
    count = student_PP.shape[-1]
    return (centred(student_PP) - centred(teacher_PP)).square().sum(dim=(-2, -1)) / (count * (count - 1))


def patches_term(view: View, settings: DistillSettings) -> tuple[Tensor, Tensor]:
    """`unlike` of student and teachers, a mean over those with patches of the pair (B,), and which pairs count (B,).

    Teachers weigh by their slopes where the stack is followed as well, by their weights else; a pair on which none with
    patches has one counts 0, all others 1.
    """
    own = view.teachers
    if view.own.patch_BPE is None or own is None or own.relation_BTPP is None:
        raise ConfigError(
            'the term "patches" needs patches of the student and of the teachers; set [extract] patches and run '
            "'mmkd extract' again"
        )
    weight_BT = own.slope_BT
    if weight_BT is None:
        weight_BT = own.weight_BT * (own.weight_BT > settings.min_weight)
    # a teacher without patches of the pair has zeros, on the diagonal too
    has_BT = own.relation_BTPP.diagonal(dim1=2, dim2=3).amax(dim=2) > 0.5
    weight_BT = weight_BT * has_BT
    value_BT = unlike(cosines(view.own.patch_BPE)[:, None], own.relation_BTPP)
    total_B = weight_BT.sum(dim=1)
    return (value_BT * weight_BT).sum(dim=1) / total_B.clamp(min=1e-6), (total_B > 0).to(value_BT.dtype)
