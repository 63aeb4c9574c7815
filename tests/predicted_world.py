"""Predictions whose metrics can be worked out by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmkd.evaluation.format.predictions import Predicted, PredictionFacts, write_predictions
from mmkd.evaluation.summary.scores import Resampling
from mmkd.statistics.metrics import Array

QUICK = Resampling(replicates=300, confidence=0.95, seed=0)


def predicted(
    folder: Path,
    model: str,
    dataset: str,
    correct: Sequence[bool],
    modality: str = "ct",
    group: Sequence[str] = (),
    facts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Two classes in turn; a correct sample scores 1 for its class, a wrong one 1 for the other."""
    label = np.arange(len(correct)) % 2
    chosen = np.where(correct, label, 1 - label)
    columns = {"label": label.astype(np.int32), "score:a": (chosen == 0) * 1.0, "score:b": (chosen == 1) * 1.0}
    written(folder, PredictionFacts(model, dataset, modality, "zero_shot"), columns, group, facts)


def written(
    folder: Path,
    about: PredictionFacts,
    columns: Mapping[str, Array],
    group: Sequence[str] = (),
    facts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Samples are named by their numbers."""
    rows = len(next(iter(columns.values())))
    named = {name: list(values) for name, values in (facts or {}).items()}
    ids = [str(row) for row in range(rows)]
    write_predictions(folder, about, Predicted(ids, list(group) or [""] * rows, dict(columns), named))


def shares(share: float, samples: int = 40) -> list[bool]:
    """So many correct ones, first."""
    return [row < round(share * samples) for row in range(samples)]
