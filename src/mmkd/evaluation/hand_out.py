"""The work of an evaluation in units that an executor hands out: model x data set, and model x data set x task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from mmkd.device import prepare
from mmkd.errors import DataError, MmkdError, ModelError
from mmkd.evaluation.corruptions.families import Family
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages
from mmkd.evaluation.embed import embed_data_set, made_from_digest
from mmkd.evaluation.format.not_evaluated import NotEvaluated
from mmkd.evaluation.format.predictions import are_made_from, predictions_path
from mmkd.evaluation.format.results import NULLS
from mmkd.evaluation.models.embeddings import embeddings_path, is_made_from, write_embeddings
from mmkd.evaluation.models.encoders import Encoder, LoadableModel
from mmkd.evaluation.tasks.settings import EvaluateSettings
from mmkd.evaluation.units import EvaluationUnit, predict, remove_prediction, remove_stale_predictions
from mmkd.executors.executor import Executor
from mmkd.executors.failures import raise_failed
from mmkd.executors.plan import notes_of, remove_notes
from mmkd.executors.resident import resident
from mmkd.executors.unit import Outcome, Resources, Unit, gpus_of, unit_id
from mmkd.folders.atomic import write_json
from mmkd.progress import say, track
from mmkd.settings import Machine


@dataclass(frozen=True)
class Embedding:
    """One model on one data set. images: of a process, for all of its data sets. notes: where it says what cannot be
    read or loaded, so that nobody tries again."""

    model: LoadableModel
    data_set: DataSet
    path: Path
    images: DecodedImages
    batch_size: int
    machine: Machine
    notes: Path

    @property
    def label(self) -> str:
        return f"{self.model.name} on {self.data_set.card.id}"


@dataclass(frozen=True)
class Prediction:
    """One unit, whose mark says that it is through: a model without a text tower leaves no file on some tasks."""

    unit: EvaluationUnit
    folder: Path
    mark: Path


def embed_all(
    models: Sequence[LoadableModel],
    data_sets: Sequence[DataSet],
    corrupted: Mapping[str, Mapping[Family, DataSet]],
    folder: Path,
    images: DecodedImages,
    settings: EvaluateSettings,
    machine: Machine,
    executor: Executor,
) -> dict[str, str]:
    """Write the embeddings files that are missing; data set with a picture that cannot be read -> why.

    Raises the DataError where no data set is left, and the ModelError of a model that does not load or whose output is
    not finite, when all others are done.
    """
    notes = notes_of(folder, "embed")
    for known in notes.glob("*.no-*"):  # of a call that was cut off: it may have been mended
        known.unlink()
    units: list[Unit] = []
    for model in models:
        good = [data_set for data_set in data_sets if data_set.images]
        worse = [one for data_set in good if model.name not in NULLS for one in corrupted[data_set.card.id].values()]
        lacking = [_embedding(model, one, folder, images, settings, machine, notes) for one in [*good, *worse]]
        found = [unit for unit in lacking if unit is not None]
        units += found
        if not found:
            say(f"evaluate: {model.name}: embeddings are there already")
    needs = Resources(cpus=max(1, machine.loaders), gpus=gpus_of(machine.device, torch.cuda.is_available()))
    failed: list[Outcome] = []
    for number, outcome in enumerate(executor.map(units, embed, notes, needs), start=1):
        failed += [outcome] if outcome.problem else []
        say(f"evaluate: {outcome.unit.label}: {'not ' if outcome.problem else ''}embedded ({number} of {len(units)})")
    unreadable = {_base(one.unit.payload.data_set): one.problem for one in failed if one.error == DataError.__name__}
    raise_failed([one for one in failed if one.error != DataError.__name__])
    remove_notes(notes)
    if len(unreadable) == len(data_sets):
        raise DataError("\n".join(unreadable.values()))
    order = [one.card.id for one in data_sets]
    return {name: unreadable[name] for name in order if name in unreadable}


def _embedding(
    model: LoadableModel,
    data_set: DataSet,
    folder: Path,
    images: DecodedImages,
    settings: EvaluateSettings,
    machine: Machine,
    notes: Path,
) -> Unit | None:
    """The unit; None where its file is there. One that was made from something else goes."""
    path = embeddings_path(folder, data_set.card.id, model.name)
    made_from = made_from_digest(model, data_set)
    if is_made_from(path, made_from):
        return None
    path.unlink(missing_ok=True)
    work = Embedding(model, data_set, path, images, settings.batch_size, machine, notes)
    return Unit(unit_id(made_from, str(path)), work.label, path, work, model.digest)


def embed(work: Embedding) -> None:
    """Write the embeddings of one model on one data set."""
    of_model = work.notes / f"{unit_id(work.model.digest)}.no-model"
    of_data = work.notes / f"{unit_id(_base(work.data_set))}.no-data"
    for known, kind in ((of_model, ModelError), (of_data, DataError)):
        if known.is_file():
            raise kind(known.read_text())
    try:
        encoder: Encoder = resident(work.model.digest, lambda: work.model.load(prepare(work.machine)))
    except MmkdError as error:
        of_model.write_text(str(error))
        raise
    loaders = work.machine.loaders
    try:
        found = embed_data_set(encoder, work.data_set, work.images, work.batch_size, loaders, work.label)
    except DataError as error:
        of_data.write_text(str(error))
        raise
    write_embeddings(work.path, found, made_from_digest(work.model, work.data_set))


def _base(data_set: DataSet) -> str:
    """The card's id; a corrupted one lies below its own."""
    return data_set.card.id.split("/")[0]


def predict_all(
    units: Sequence[EvaluationUnit], folder: Path, executor: Executor
) -> tuple[int, dict[int, NotEvaluated]]:
    """How many predictions were made (those that were there already do not count), and place of a unit that cannot be
    evaluated -> why.

    A data set that one task cannot use still serves the others. Raises the last DataError where no unit is left.
    """
    remove_stale_predictions(folder, units)
    notes = notes_of(folder, "predict")
    places: dict[str, int] = {}
    todo = []
    for place, unit in enumerate(units):
        facts = unit.facts
        path = predictions_path(folder, facts)
        if not are_made_from(path, facts.made_from):
            name = unit_id(facts.made_from, str(path))
            mark = notes / f"{name}.done"
            mark.unlink(missing_ok=True)  # of a call that was cut off, and whose file is gone
            label = f"{unit.model} on {unit.data_set.card.id}, {unit.task_name}"
            todo.append(Unit(name, label, mark, Prediction(unit, folder, mark)))
            places[name] = place
    outcomes = executor.map(todo, predict_one, notes, Resources())
    shown = track(outcomes, "predict", len(units), "predictions", len(units) - len(todo))
    failed = [outcome for outcome in shown if outcome.problem]
    raise_failed([one for one in failed if one.error != DataError.__name__])
    remove_notes(notes)
    if failed and len(failed) == len(units):
        raise DataError(failed[-1].problem)
    for outcome in failed:
        remove_prediction(units[places[outcome.unit.id]], folder)
    made = sum(predictions_path(folder, units[place].facts).is_file() for place in places.values())
    missing = {places[outcome.unit.id]: _missing(units[places[outcome.unit.id]], outcome) for outcome in failed}
    return made, dict(sorted(missing.items()))


def predict_one(work: Prediction) -> None:
    """Leave the unit's predictions, then its mark."""
    predict(work.unit, work.folder)
    write_json(work.mark, {})


def _missing(unit: EvaluationUnit, outcome: Outcome) -> NotEvaluated:
    return NotEvaluated(unit.data_set.card.id, outcome.problem, unit.task_name, unit.model)
