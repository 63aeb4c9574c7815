"""What the teachers say of the patches of a picture: their cosines with one another.

Letters: B pairs, T teachers, P patches of a picture, E a teacher's width of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmkd.errors import ConfigError, DataError
from mmkd.features.store import TeacherFeatures
from mmkd.progress import say


def common_grid(features: Sequence[TeacherFeatures]) -> int:
    """The side of the teachers' grid of patches; those without patches have no part in it.

    Raises DataError where no teacher has patches, or where their grids differ.
    """
    grids = {teacher.name: teacher.facts.grid for teacher in features if teacher.facts.grid}
    if not grids:
        names = ", ".join(teacher.name for teacher in features)
        raise DataError(
            f"no teacher has features of patches ({names}); set [extract] patches, run 'mmkd extract' again and read "
            "there why a teacher has none, or take the term patches out"
        )
    if len(set(grids.values())) > 1:
        raise DataError(
            f"the teachers' grids have different sides, {grids}; extract all with the same [extract] patches"
        )
    return next(iter(grids.values()))


def places_to_follow(features: Sequence[TeacherFeatures], grid: int, view: Sequence[float]) -> tuple[int, ...]:
    """The teachers (places) with patches that lie where the student's do, to half a patch; others are named.

    view: which part of pictures the student sees, see `mmkd.images.transform.seen_part`. Raises ConfigError where no
    teacher is left.
    """
    found = []
    for t, teacher in enumerate(features):
        if not teacher.facts.grid:
            continue
        if max(abs(own - theirs) for own, theirs in zip(view, teacher.facts.view, strict=True)) <= 0.5 / grid:
            found.append(t)
        else:
            say(
                f"term patches: without {teacher.name}, which sees another part of a picture than the student "
                f"({_named(teacher.facts.view)}; the student {_named(view)})"
            )
    if not found:
        raise ConfigError(
            "no teacher's patches lie where the student's do; set [student] resize_mode to what the teachers have, or "
            "take the term patches out"
        )
    return tuple(found)


def _named(view: Sequence[float]) -> str:
    left, top, right, bottom = (f"{100 * share:.0f}" for share in view)
    return f"{left} to {right} % of the width, {top} to {bottom} % of the height of a wide one"


def relations(features: Sequence[TeacherFeatures], places: Sequence[int], row_B: np.ndarray, grid: int) -> Tensor:
    """Cosines of the patches of these corpus rows (B, T, P, P), float32; zeros where a teacher has none.

    places: of the teachers that are followed; the others have zeros everywhere. Cosines are made where the rows are
    read: a matrix has P / E of the numbers that the patches have.
    """
    count = grid**2
    found_BTPP = torch.zeros(len(row_B), len(features), count, count)
    for t in places:
        patch_NPE, _ = features[t].patches(row_B)
        patch_BPE = torch.from_numpy(patch_NPE.astype(np.float32))
        torch.bmm(patch_BPE, patch_BPE.transpose(1, 2), out=found_BTPP[:, t])
    return found_BTPP
