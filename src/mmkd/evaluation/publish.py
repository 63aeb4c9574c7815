"""The folder `evaluate` of a run, or of models that mmkd did not train: what it is made from, and its manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.evaluation.evaluate import evaluate, open_data_sets
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.folders.stage import Stage, complete
from mmkd.settings import Machine, Settings
from mmkd.teachers.zoo.settings import TeacherSpec

EVALUATE = "evaluate"
OUTPUTS = ("*.jsonl", "predictions/**/*.parquet")


def _as_json(section: Settings) -> dict[str, Any]:
    return section.model_dump(mode="json")


@dataclass(frozen=True)
class Evaluation:
    """What is to be evaluated. name: of the recipe, for titles. licences: teacher -> licence, in the order of tables.

    corpus: images that the models were trained on, for the leakage audit. digests: of the models' folders, by name.
    plain: a section of the recipe as the manifest keeps it.
    """

    name: str
    settings: EvaluateSettings
    models: Sequence[TeacherSpec]
    licences: Mapping[str, str]
    machine: Machine
    seed: int
    corpus: Path | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    plain: Callable[[Settings], dict[str, Any]] = _as_json


def publish_evaluation(one: Evaluation, out: Path, force: bool = False) -> None:
    """Leave a finished `out/evaluate`. What the folder has of earlier models and data sets is not made again.

    Raises as `evaluate` does, and ConfigError when a folder of other settings or inputs stands there, unless `force`.
    """
    data_sets = open_data_sets(one.settings)
    settings = {
        **one.plain(one.settings),
        "recipe": one.name,
        "seed": one.seed,
        "models": [one.plain(model) for model in one.models],
        "licences": dict(one.licences),
    }
    inputs = {**one.digests, **{data_set.card.id: data_set.digest for data_set in data_sets}}
    stage = Stage("evaluation", out / EVALUATE, settings, inputs, OUTPUTS, keyed=True)
    names = {model.name for model in one.models}
    teachers = [name for name in one.licences if name in names]

    def body(folder: Path) -> dict[str, int]:
        return evaluate(one.settings, data_sets, one.models, teachers, folder, one.machine, one.seed, one.corpus)

    complete(stage, body, force)
