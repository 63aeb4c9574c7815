"""Pictures of a corpus that a teacher finds nearly equal, from its stored features; N rows, P pairs."""

import numpy as np

from mmkd.features.near_duplicates import alike
from mmkd.features.store import TeacherFeatures


def alike_rows(teacher: TeacherFeatures, cosine: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of the corpus, the earlier first, (P, 2), and their cosines (P,); see `alike`.

    Rows of which the teacher lacks a vector are in no pair. A block of vectors is in memory at a time.
    """
    rows = np.flatnonzero(teacher.valid())
    pair_P2, cosine_P = alike(lambda places: teacher.take(rows[places])[0], len(rows), cosine, rng)
    return rows[pair_P2], cosine_P
