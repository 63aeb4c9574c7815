"""The folder `evaluate` of a run, or of models that mmkd did not train: what it is made from, and its manifest."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.errors import DataError
from mmkd.evaluation.data_sets.choose import check_tasks, chosen_cards
from mmkd.evaluation.data_sets.source import DataSetSource, read_source
from mmkd.evaluation.format.not_evaluated import NotEvaluated
from mmkd.evaluation.format.results import TEACHERS_STACK
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.folders.stage import Stage, complete, status
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import TeacherSpec

if TYPE_CHECKING:
    from mmkd.reliability.teacher_stack import TeacherStack

EVALUATE = "evaluate"
UNREAD = "not readable"
ALONE = LocalExecutor(1)
OUTPUTS = ("*.jsonl", "predictions/**/*.parquet")


@dataclass(frozen=True)
class Evaluation:
    """What is to be evaluated. name: of the recipe, for titles. licences: teacher -> licence, in the order of tables.

    corpus: images that the models were trained on, for the leakage audit. digests: of the models' folders, by name.
    kept: settings as the manifest keeps them, see `Stage`. reliability: folder of that stage, whose stack of the
    teachers on this corpus is evaluated beside them. executor: who hands out the work.
    """

    name: str
    settings: EvaluateSettings
    models: Sequence[TeacherSpec]
    licences: Mapping[str, str]
    machine: Machine
    seed: int
    corpus: Path | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    kept: Callable[[Any], Any] = copy
    reliability: Path | None = None
    executor: Executor = ALONE


def publish_evaluation(one: Evaluation, out: Path, force: bool = False) -> None:
    """Leave a finished `out/evaluate`. What the folder has of earlier models and data sets is not made again.

    Raises as `evaluate` does, and ConfigError when a folder of other settings or inputs stands there, unless `force`.
    """
    stage, sources, unread = evaluation_stage(one, out)
    names = {model.name for model in one.models}
    teachers = [name for name in one.licences if name in names]

    def body(folder: Path) -> dict[str, int]:
        from mmkd.evaluation.data_sets.opened import open_for_tasks
        from mmkd.evaluation.evaluate import evaluate  # loads torch, which a finished evaluation does without

        data_sets = []
        for source in sources:
            check_tasks(source.card, Path(source.card.id))
            opened, failed = open_for_tasks(source)
            data_sets += [opened] if opened else []
            unread.extend(NotEvaluated(source.card.id, reason, task) for task, reason in failed.items())
        if not data_sets:
            raise DataError("\n".join(map(str, unread)))
        return evaluate(
            one.settings,
            data_sets,
            one.models,
            teachers,
            folder,
            one.machine,
            one.seed,
            one.corpus,
            unread,
            _stack(one) if len(teachers) > 1 else None,
            one.executor,
        )

    complete(stage, body, force)


def _stack(one: Evaluation) -> "TeacherStack | None":
    """The stack of the teachers; None, with a line, where none was fitted."""
    if one.reliability is None or one.corpus is None:
        return None
    from mmkd.corpus.schema import Corpus
    from mmkd.reliability.table import load_reliability
    from mmkd.reliability.teacher_stack import stack_of

    table = load_reliability(one.reliability)
    stack = stack_of(table, Corpus(one.corpus)) if table.stacks else None
    if stack is not None and stack.teachers:
        return stack
    why = "no teacher has a slope anywhere" if table.stacks else '[reliability] method = "stacking" fits one'
    say(f"{TEACHERS_STACK} is left out: the reliability has no stack of the teachers; {why}")
    return None


def evaluation_stage(one: Evaluation, out: Path) -> tuple[Stage, list[DataSetSource], list[NotEvaluated]]:
    """The stage that makes `out/evaluate`, its data sets, and those that cannot be read.

    Raises the last DataError where no data set can be read.
    """
    is_there = status(out / EVALUATE) == "complete"
    cards = chosen_cards(one.settings, check=not is_there)
    sources: list[DataSetSource] = []
    unread: list[NotEvaluated] = []
    for card in cards:
        try:
            sources.append(read_source(card))
        except DataError as error:
            unread.append(NotEvaluated(card.id, str(error)))
            if len(unread) == len(cards):
                raise
    settings = {
        **one.settings.evaluated_with,
        "recipe": one.name,
        "seed": one.seed,
        "models": [model.model_dump(mode="json") for model in one.models],
        "licences": dict(one.licences),
    }
    inputs = {**one.digests, **{source.card.id: source.digest for source in sources}}
    inputs |= {missing.dataset: UNREAD for missing in unread}
    stage = Stage("evaluation", out / EVALUATE, one.kept(settings), inputs, OUTPUTS, keyed=True, kept=one.kept)
    return stage, sources, unread
