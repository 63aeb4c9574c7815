"""The score of every class, from the predictions of any task that tells classes apart; N samples, C classes."""

from dataclasses import dataclass

import numpy as np

from mmkd.evaluation.format.predictions import Predictions
from mmkd.statistics.metrics import Array

SCORES = {"zero_shot": "score:", "linear_probe": "score:", "diagnosis": "attention:"}
PROBABILITY = "probability:"


@dataclass(frozen=True)
class ClassScores:
    """classes: in the order of the labels. The highest score is the answer; of equal ones the first."""

    classes: list[str]
    score_NC: Array
    label_N: Array

    def answers(self) -> Array:
        """The place of the highest score; (N,)."""
        answer_N: Array = self.score_NC.argmax(axis=1)
        return answer_N

    def confusion(self) -> Array:
        """How often each true class (row) was given each answer (column); (C, C)."""
        count_CC = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(count_CC, (self.label_N, self.answers()), 1)
        return count_CC


def class_scores(predictions: Predictions) -> ClassScores | None:
    """Scores of a task with one true class a sample; None for other tasks and for multi-label cards.

    Of a linear probe, whose columns are `score:<share of the labels>:<draw>:<class>`, those of the largest share.
    """
    prefix = SCORES.get(predictions.facts.task)
    if prefix is None or "label" not in predictions.columns:
        return None
    names = [name for name in predictions.columns if name.startswith(prefix)]
    if predictions.facts.task == "linear_probe":
        named = _of_largest_share(names)
    else:
        named = {name.removeprefix(prefix): name for name in names}
    return _gathered(predictions, named)


def class_probabilities(predictions: Predictions) -> ClassScores | None:
    """Calibrated probabilities, where a val split allowed to make them."""
    names = [name for name in predictions.columns if name.startswith(PROBABILITY)]
    if "label" not in predictions.columns:
        return None
    return _gathered(predictions, {name.removeprefix(PROBABILITY): name for name in names})


def _gathered(predictions: Predictions, column_of: dict[str, str]) -> ClassScores | None:
    if not column_of:
        return None
    score_NC = np.stack([predictions.columns[name] for name in column_of.values()], axis=1)
    return ClassScores(list(column_of), score_NC, predictions.columns["label"].astype(np.int64))


def _of_largest_share(names: list[str]) -> dict[str, str]:
    """Class -> its column."""
    parts = [(*name.split(":", 3)[1:], name) for name in names if name.count(":") >= 3]
    if not parts:
        return {}
    share, draw, *_ = max(parts, key=lambda part: float(part[0]))
    return {part[2]: part[3] for part in parts if part[:2] == (share, draw)}
