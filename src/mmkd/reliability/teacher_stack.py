"""The stack of teachers as a model of its own: which slopes it has on a data set.

A data set has a modality; where that is divided into parts, its texts say which parts it asks about: they lie in cells
of captions. Labels have no part in it.

Letters: K teachers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.reliability.caption_cells import CaptionCells
from mmkd.reliability.table import ReliabilityTable


@dataclass(frozen=True)
class TeacherStack:
    """Slopes by modality and for all modalities together; each teacher -> slope, those of slope 0 left out.

    cells: of the modalities that are divided. of_part: part of a modality -> slopes.
    """

    of_modality: Mapping[str, Mapping[str, float]]
    pooled: Mapping[str, float]
    cells: Mapping[str, CaptionCells] = field(default_factory=dict)
    of_part: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def slopes(self, modality: str) -> Mapping[str, float]:
        """Those of the modality; the pooled ones where the fit had no pairs of it, or found no teacher of use."""
        return self.of_modality.get(modality) or self.pooled

    @property
    def teachers(self) -> set[str]:
        """All that have a slope anywhere, or whose texts tell the parts of a modality."""
        asked = [cells.metric.slopes for cells in self.cells.values()]
        return set(self.pooled).union(*self.of_modality.values(), *self.of_part.values(), *asked)

    def asked(self, modality: str) -> list[str]:
        """The teachers whose vectors of a data set's texts tell its parts; none where the modality is whole."""
        return list(self.cells[modality].metric.slopes) if modality in self.cells else []

    def for_texts(self, modality: str, texts: Mapping[str, np.ndarray]) -> tuple["TeacherStack", dict[str, float]]:
        """The stack on a data set of these texts, and the share of its texts in each part that has a stack.

        texts: of each `asked` teacher, unit rows (N, D). On its modality the stack then has the mean of the parts'
        slopes by those shares, each divided by their sum, so that a sharp stack counts no more than another; times the
        mean sum. Without such a part it stays as it is.
        """
        found = {name: share for name, share in self.cells[modality].shares(texts).items() if self.of_part.get(name)}
        if not found:
            return self, {}
        known, sums = sum(found.values()), {part: sum(self.of_part[part].values()) for part in found}
        mean_sum = sum(share / known * sums[part] for part, share in found.items())
        mean: dict[str, float] = {}
        for part, share in found.items():
            for teacher, slope in self.of_part[part].items():
                mean[teacher] = mean.get(teacher, 0.0) + share / known * slope / sums[part] * mean_sum
        return replace(self, of_modality={**self.of_modality, modality: mean}), found


def stack_of(table: ReliabilityTable, corpus: Corpus) -> TeacherStack:
    """The stack on each modality of the corpus's split `train`, whose pairs the slopes were fitted on.

    Of a modality that lies in several groups, as clusters do, the slopes are the mean over its pairs, and the pooled
    ones that over all pairs. Pairs of groups in which no teacher has a slope have no part.
    """
    rows = corpus.pairs("train")
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
    if table.parts is None:
        return TeacherStack(by_modality, mean(of_N))
    by_group = {str(name): mean(np.flatnonzero(name_G == name)) for name in name_G}
    of_part = {name: by_group.get(name, {}) for cells in table.parts.cells.values() for name in cells.parts}
    return TeacherStack(by_modality, mean(of_N), table.parts.cells, of_part)
