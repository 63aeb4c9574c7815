"""What labels vectors: classes, their scores, and how probabilities follow from these."""

from dataclasses import dataclass
from pathlib import Path

from mmkd.inference.model import Model
from mmkd.labels.calibrate import Calibration, of_run, uncalibrated
from mmkd.labels.classes import Classes
from mmkd.labels.classify import Classified, Scores, probabilities, zero_shot
from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class Head:
    """score: of the classes, by their prompts or by a classifier."""

    classes: Classes
    score: Scores
    calibration: Calibration

    def classified(self, vector_ND: Array) -> Classified:
        """Vectors of pictures (N, D)."""
        return Classified(self.classes, probabilities(self.score(vector_ND), self.calibration.temperature))


def by_prompts(model: Model, classes: Classes, run: Path | None) -> Head:
    """run: whose export the model is, which has calibrated classes of its own cards."""
    calibration = of_run(run, classes.card) or uncalibrated(model.scale)
    return Head(classes, zero_shot(model, classes), calibration)
