"""The stack of teachers as a model of its own: which slopes it has on pictures of a modality.

Letters: K teachers.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.reliability.table import ReliabilityTable


@dataclass(frozen=True)
class TeacherStack:
    """Slopes by modality and for all modalities together; each teacher -> slope, those of slope 0 left out."""

    of_modality: Mapping[str, Mapping[str, float]]
    pooled: Mapping[str, float]

    def slopes(self, modality: str) -> Mapping[str, float]:
        """Those of the modality; the pooled ones where the fit had no pairs of it, or found no teacher of use."""
        return self.of_modality.get(modality) or self.pooled

    @property
    def teachers(self) -> set[str]:
        """All that have a slope anywhere."""
        return set(self.pooled).union(*self.of_modality.values())


def stack_of(table: ReliabilityTable, corpus: Corpus) -> TeacherStack:
    """The stack on each modality of the corpus's split `train`, whose pairs the slopes were fitted on.

    Of a modality that lies in several groups, as clusters do, the slopes are the mean over its pairs, and the pooled
    ones that over all pairs. Pairs of groups in which no teacher has a slope have no part.
    """
    rows = corpus.rows("train")
    group_N, modality_N = table.groups(corpus)[rows], corpus.modalities[rows]
    if table.modality_N is not None:
        modality_N = table.modality_N[rows]
    name_G, of_N = np.unique(group_N, return_inverse=True)
    slope_GK = table.slopes(name_G).astype(np.float64)
    names = [teacher.name for teacher in table.teachers]

    def mean(of_M: np.ndarray) -> dict[str, float]:
        count_G = np.bincount(of_M, minlength=len(name_G)) * slope_GK.any(axis=1)
        slope_K = count_G @ slope_GK / max(count_G.sum(), 1)
        return {name: slope for name, slope in zip(names, slope_K.tolist(), strict=True) if slope > 0}

    by_modality = {str(name): mean(of_N[modality_N == name]) for name in np.unique(modality_N)}
    return TeacherStack(by_modality, mean(of_N))
