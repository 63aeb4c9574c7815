"""The stage `measurement`: a model's zero-shot accuracy on each data set, by the task that evaluation runs, no more."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmkd.errors import ConfigError
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.embed import embed_data_set
from mmkd.evaluation.evaluate import open_data_sets
from mmkd.evaluation.models.embedded_data_set import EmbeddedDataSet
from mmkd.evaluation.models.encoders import Encoder, loadable_model
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.tasks.table import TASKS
from mmkd.folders.atomic import write_json
from mmkd.folders.stage import Stage, complete
from mmkd.pipeline.run import Run
from mmkd.teachers.zoo.settings import TeacherSpec

TASK = "zero_shot"
FOUND = "accuracy.json"


def zero_shot_sets(settings: EvaluateSettings) -> list[DataSet]:
    """The recipe's data sets that ask for classes. Raises ConfigError when there is none."""
    found = [data_set for data_set in open_data_sets(settings) if TASK in data_set.card.tasks]
    if not found:
        raise ConfigError(f"an ablation measures {TASK}, but no card of [evaluate] has this task; add one")
    return found


def measured(run: Run, spec: TeacherSpec, data_sets: Sequence[DataSet], images: DecodedImages) -> list[dict[str, Any]]:
    """A row for each data set (dataset, modality, value in 0..1, n), from the run's folder `measured/NAME`."""
    model = loadable_model(spec)
    inputs = {"model": model.digest, **{data_set.card.id: data_set.digest for data_set in data_sets}}
    settings = {"task": TASK, "protocol": TASKS[TASK].protocol}
    stage = run.pooled(Stage("measurement", run.out / "measured" / spec.name, settings, inputs))

    def body(folder: Path) -> dict[str, int]:
        from mmkd.device import prepare

        encoder = model.load(prepare(run.recipe.machine))
        rows = [accuracy(encoder, data_set, images, run.recipe.evaluate, spec.name) for data_set in data_sets]
        write_json(folder / FOUND, {"rows": rows})
        return {"data_sets": len(rows), "samples": sum(row["n"] for row in rows)}

    complete(stage, body, run.force)
    found: list[dict[str, Any]] = json.loads((run.out / "measured" / spec.name / FOUND).read_text())["rows"]
    return found


def accuracy(
    encoder: Encoder, data_set: DataSet, images: DecodedImages, settings: EvaluateSettings, name: str
) -> dict[str, Any]:
    """Of one model on one data set, each sample once."""
    card, task = data_set.card, TASKS[TASK]
    embedded = embed_data_set(encoder, data_set, images, settings.batch_size, 0, f"{name} on {card.id}")
    predicted = task.predict(
        EmbeddedDataSet(name, card, data_set.samples, data_set.images, [embedded], settings.of_task(task), seed=0)
    )
    value_1 = task.measure(predicted.columns, np.ones((1, len(predicted.id))))[task.primary]
    return {"dataset": card.id, "modality": card.modality, "value": float(value_1[0]), "n": len(predicted.id)}
