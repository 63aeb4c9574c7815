"""The folder `evaluate` of a run, or of models that mmkd did not train: what it is made from, and its manifest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.evaluation.data_sets.choose import check_tasks, chosen_cards
from mmkd.evaluation.data_sets.source import read_source
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.folders.stage import Stage, complete, status
from mmkd.settings import Machine, Settings
from mmkd.teachers.zoo.settings import TeacherSpec

EVALUATE = "evaluate"
OUTPUTS = ("*.jsonl", "predictions/**/*.parquet")


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
    plain: Callable[[Settings], dict[str, Any]] = lambda section: section.model_dump(mode="json")


def publish_evaluation(one: Evaluation, out: Path, force: bool = False) -> None:
    """Leave a finished `out/evaluate`. What the folder has of earlier models and data sets is not made again.

    Raises as `evaluate` does, and ConfigError when a folder of other settings or inputs stands there, unless `force`.
    """
    is_there = status(out / EVALUATE) == "complete"
    sources = [read_source(card) for card in chosen_cards(one.settings, check=not is_there)]
    settings = {
        **one.plain(one.settings),
        "recipe": one.name,
        "seed": one.seed,
        "models": [one.plain(model) for model in one.models],
        "licences": dict(one.licences),
    }
    inputs = {**one.digests, **{source.card.id: source.digest for source in sources}}
    stage = Stage("evaluation", out / EVALUATE, settings, inputs, OUTPUTS, keyed=True)
    names = {model.name for model in one.models}
    teachers = [name for name in one.licences if name in names]

    def body(folder: Path) -> dict[str, int]:
        from mmkd.evaluation.data_sets.opened import open_data_set
        from mmkd.evaluation.evaluate import evaluate  # loads torch, which a finished evaluation does without

        data_sets = [open_data_set(check_tasks(source.card, Path(source.card.id)), source) for source in sources]
        return evaluate(one.settings, data_sets, one.models, teachers, folder, one.machine, one.seed, one.corpus)

    complete(stage, body, force)
