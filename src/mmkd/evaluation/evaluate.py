"""The stage `evaluate`: every model on every data set; embeddings, then predictions, then results."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.evaluation.corrupted import corrupted_sets
from mmkd.evaluation.data_sets.choose import chosen_cards
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages, open_data_set
from mmkd.evaluation.format.not_evaluated import NotEvaluated, write_not_evaluated
from mmkd.evaluation.format.results import NULLS, OF_TEACHERS, STUDENTS, TEACHERS_CONCAT, TEACHERS_STACK, focus_model
from mmkd.evaluation.hand_out import embed_all, predict_all
from mmkd.evaluation.leakage.audit import audit
from mmkd.evaluation.leakage.matches import leaked_samples
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import LoadableModel, loadable_model, null_model
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.summary.summary import results_from_predictions, write_summary
from mmkd.evaluation.summary.tables import printed
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.units import (
    units_of,
    write_cards,
    write_galleries,
    write_task_files,
)
from mmkd.executors.executor import Executor
from mmkd.executors.local import LocalExecutor
from mmkd.progress import say
from mmkd.reliability.teacher_stack import TeacherStack
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.validation import nearest

ALONE = LocalExecutor(1)


def evaluate(
    settings: EvaluateSettings,
    data_sets: Sequence[DataSet],
    models: Sequence[TeacherSpec],
    teachers: Sequence[str],
    folder: Path,
    machine: Machine,
    seed: int,
    corpus: Path | None = None,
    unread: Sequence[NotEvaluated] = (),
    stack: TeacherStack | None = None,
    executor: Executor = ALONE,
) -> dict[str, int]:
    """Leave embeddings, predictions, images for the report and the tables of results in the folder; returns counts.

    data_sets: of the settings' cards. models: teachers and students alike, one in the memory of a worker at a time.
    executor: who hands out embeddings and predictions. teachers: the names
    of those that are teachers; two or more also make the ensemble `teachers_concat`. corpus: what the students were
    trained on, for the leakage audit. What the folder has of an earlier or a cut-off call is not made again. Raises
    ConfigError, DataError or ModelError before results are written. A data set that cannot be read, and a task that one
    cannot serve, is left out, said, counted and written down as not evaluated. unread: what is left out already. stack:
    the slopes of the teachers; where all of them are among the models there is an ensemble `teachers_stack` as well.
    """
    names = [spec.name for spec in models]
    _check_names(names, teachers, settings.corruption_baseline)
    images = DecodedImages(machine.decoded_cache_mb)
    focus = models[names.index(focus_model(names, teachers))]
    loadable = {spec.name: loadable_model(spec) for spec in models}
    loadable |= {name: null_model(name, focus, seed) for name in settings.nulls}
    corrupted = {one.card.id: corrupted_sets(one, settings.corruptions) for one in data_sets}
    models_to_embed = list(loadable.values())
    unreadable = embed_all(models_to_embed, data_sets, corrupted, folder, images, settings, machine, executor)
    data_sets = [data_set for data_set in data_sets if data_set.card.id not in unreadable]
    members = _members(loadable, teachers)
    stack = _complete(stack, loadable)
    units = [
        unit
        for data_set in data_sets
        for unit in units_of(
            data_set, members, settings, seed, corrupted[data_set.card.id], _for_data_set(stack, data_set, folder)
        )
    ]
    predicted, failed = predict_all(units, folder, executor)
    units = [unit for number, unit in enumerate(units) if number not in failed]
    missing = [*unread, *(NotEvaluated(*one) for one in unreadable.items()), *failed.values()]
    write_not_evaluated(folder, missing)
    write_cards(folder, data_sets)
    write_galleries(folder, units, focus.name, images, settings.gallery)
    write_task_files(folder, units, focus.name, settings)
    if settings.audit:
        audit(data_sets, corpus, folder, images, loadable[focus.name], prepare(machine), machine.loaders)
    resampling = Resampling(settings.bootstrap, settings.confidence, seed, least_groups=settings.least_groups)
    summary = results_from_predictions(
        folder,
        teachers,
        resampling,
        names,
        partial(leaked_samples, folder),
        settings.corruption_baseline,
        executor,
    )
    write_summary(folder, summary)
    print(printed(summary.results, summary.comparisons, teachers, summary.rankings, summary.overall))
    for notice in summary.notices:
        print(notice)
    for one in missing:
        print(f"not evaluated: {one}")
    return {
        "models": len(models),
        "data_sets": len(data_sets),
        "samples": sum(len(data_set.samples) for data_set in data_sets),
        "predictions": predicted,
        **({"not_evaluated": len(missing)} if missing else {}),
        "results": len(summary.results),
    }


def open_data_sets(settings: EvaluateSettings) -> list[DataSet]:
    """The data sets of the settings' cards; their digests by card id are the `inputs` of the stage."""
    return [open_data_set(card) for card in chosen_cards(settings)]


def _members(loadable: Mapping[str, LoadableModel], teachers: Sequence[str]) -> Mapping[str, Sequence[LoadableModel]]:
    """What stands in the tables: every model, and the teachers as one."""
    members: dict[str, Sequence[LoadableModel]] = {name: [model] for name, model in loadable.items()}
    if len(teachers) > 1:
        members[TEACHERS_CONCAT] = [model for name, model in loadable.items() if name in teachers]
    return members


def _complete(stack: TeacherStack | None, loadable: Mapping[str, LoadableModel]) -> TeacherStack | None:
    """The stack, where every teacher that has a slope is evaluated: slopes without one of them are no fit."""
    if stack is None or not (missing := sorted(stack.teachers - loadable.keys())):
        return stack
    say(f"{TEACHERS_STACK} is left out: it needs {', '.join(missing)}, which cannot be evaluated here")
    return None


def _for_data_set(stack: TeacherStack | None, data_set: DataSet, folder: Path) -> TeacherStack | None:
    """The stack with the slopes of the parts of the modality that the data set's texts ask about, which is said."""
    modality, card_id = data_set.card.modality, data_set.card.id
    if stack is None or not data_set.images or not data_set.texts or not (asked := stack.asked(modality)):
        return stack
    texts = {name: read_embeddings(embeddings_path(folder, card_id, name)) for name in asked}
    if any(len(one.texts) < len(data_set.texts) for one in texts.values()):  # a teacher without a text tower
        return stack
    stack, shares = stack.for_texts(modality, {name: one.text_TD for name, one in texts.items()})
    if shares:
        found = ", ".join(f"{part} ({share:.0%} of the texts)" for part, share in shares.items())
        say(f"{TEACHERS_STACK} on {card_id}: {found}")
    return stack


def _check_names(models: Sequence[str], teachers: Sequence[str], baseline: str) -> None:
    if not models:
        raise ConfigError("no model to evaluate")
    twice = sorted({name for name in models if models.count(name) > 1})
    if twice:
        raise ConfigError(f"models named twice: {', '.join(twice)}; every model needs a name of its own")
    reserved = {*OF_TEACHERS, *NULLS}
    taken = sorted(reserved & set(models) | set(STUDENTS) & set(teachers))
    if taken:
        raise ConfigError(f"{', '.join(taken)}: the evaluation uses this name itself; choose another for the model")
    if baseline and baseline not in models:
        raise ConfigError(f"evaluate.corruption_baseline: no model {baseline!r}; {nearest(baseline, list(models))}")
    if unknown := sorted(set(teachers) - set(models)):
        raise ConfigError(f"teachers that are not among the models: {', '.join(unknown)}")
