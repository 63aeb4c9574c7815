"""What the teachers say of the patches of a picture: their cosines with one another.

Letters: B pairs, T teachers, P patches of a picture, E a teacher's width of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures


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


def relations(features: Sequence[TeacherFeatures], row_B: np.ndarray, grid: int) -> Tensor:
    """Cosines of the patches of these corpus rows (B, T, P, P), float32; zeros where a teacher has none.

    They are made where the rows are read: a matrix has P / E of the numbers that the patches have.
    """
    count = grid**2
    found_BTPP = torch.zeros(len(row_B), len(features), count, count)
    for t, teacher in enumerate(features):
        if teacher.facts.grid:
            patch_NPE, _ = teacher.patches(row_B)
            patch_BPE = torch.from_numpy(patch_NPE.astype(np.float32))
            torch.bmm(patch_BPE, patch_BPE.transpose(1, 2), out=found_BTPP[:, t])
    return found_BTPP
