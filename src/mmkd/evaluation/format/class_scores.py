"""A score for each class; N samples, C classes."""

from dataclasses import dataclass

import numpy as np

from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class ClassScores:
    """Of samples with one true class each. classes: in the order of the labels. The highest score is the prediction; of
    equal ones the first."""

    classes: list[str]
    score_NC: Array
    label_N: Array

    def predicted(self) -> Array:
        """The place of the highest score; (N,)."""
        predicted_N: Array = self.score_NC.argmax(axis=1)
        return predicted_N

    def confusion(self) -> Array:
        """How often each true class (row) was predicted as each class (column); (C, C)."""
        count_CC = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(count_CC, (self.label_N, self.predicted()), 1)
        return count_CC
