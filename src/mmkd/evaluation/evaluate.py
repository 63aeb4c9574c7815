"""The stage `evaluate`: every model on every data set; embeddings, then predictions, then results."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.evaluation.catalog import load_cards
from mmkd.evaluation.data_set import DataSet, DecodedImages, open_data_set
from mmkd.evaluation.embed import embed
from mmkd.evaluation.embeddings import Embeddings, embeddings_path, read_embeddings
from mmkd.evaluation.predictions import PREDICTIONS, PredictionFacts, Predictions, write_predictions
from mmkd.evaluation.results import BEST_TEACHER, COMPARISONS, RESULTS, STUDENTS, TEACHERS_CONCAT, write_rows
from mmkd.evaluation.settings import EvaluateSettings
from mmkd.evaluation.summary import Resampling, results_from_predictions
from mmkd.evaluation.tables import printed
from mmkd.evaluation.tasks.table import TASKS
from mmkd.progress import say
from mmkd.settings import Machine
from mmkd.teachers.settings import TeacherSpec


def evaluate(
    settings: EvaluateSettings,
    models: Sequence[TeacherSpec],
    teachers: Sequence[str],
    folder: Path,
    machine: Machine,
    seed: int,
) -> dict[str, int]:
    """Leave embeddings, predictions, `results.jsonl` and `comparisons.jsonl` in the folder; returns counts.

    models: teachers and students alike, one in memory at a time. teachers: the names of those that are teachers; two or
    more also make the ensemble `teachers_concat`. A folder that was cut off goes on from the embeddings it has.
    Raises ConfigError, DataError or ModelError before results are written; nothing is skipped.
    """
    _check_names([spec.name for spec in models], teachers)
    data_sets = [open_data_set(card) for card in load_cards(settings.cards, settings.variables)]
    device = prepare(machine)
    images = DecodedImages(machine.decoded_cache_mb)
    for spec in models:
        embed(spec, data_sets, folder, device, images, settings.batch_size, machine.workers)
    shutil.rmtree(folder / PREDICTIONS, ignore_errors=True)  # of models or data sets that an earlier run had
    members = {spec.name: [spec.name] for spec in models}
    if len(teachers) > 1:
        members[TEACHERS_CONCAT] = list(teachers)
    files = sum(_predict(data_set, members, folder) for data_set in data_sets)
    results, comparisons = results_from_predictions(
        folder, teachers, Resampling(settings.bootstrap, settings.confidence, seed)
    )
    write_rows(folder / RESULTS, results)
    write_rows(folder / COMPARISONS, comparisons)
    say(printed(results, comparisons, teachers))
    return {
        "models": len(models),
        "data_sets": len(data_sets),
        "samples": sum(len(data_set.samples) for data_set in data_sets),
        "predictions": files,
        "results": len(results),
    }


def card_fingerprints(settings: EvaluateSettings) -> dict[str, str]:
    """The digest of every data set (card, tables, images) by card id, for the `inputs` of the stage."""
    return {
        data_set.card.id: data_set.digest
        for data_set in map(open_data_set, load_cards(settings.cards, settings.variables))
    }


def _predict(data_set: DataSet, members: Mapping[str, Sequence[str]], folder: Path) -> int:
    """Write the predictions of every model and ensemble for every task of the data set; returns the number of files."""
    card, samples = data_set.card, data_set.samples
    single = {name for names in members.values() for name in names}
    stored: dict[str, Embeddings] = {name: read_embeddings(embeddings_path(folder, card.id, name)) for name in single}
    for name in card.tasks:
        task = TASKS[name]
        group = [task.group(sample) for sample in samples]
        for model, parts in members.items():
            columns = task.predict(card, samples, [stored[part] for part in parts])
            facts = PredictionFacts(model, card.id, card.modality, name, card.warning)
            write_predictions(folder, Predictions(facts, [sample.id for sample in samples], group, columns))
    return len(card.tasks) * len(members)


def _check_names(models: Sequence[str], teachers: Sequence[str]) -> None:
    twice = sorted({name for name in models if models.count(name) > 1})
    if twice:
        raise ConfigError(f"models named twice: {', '.join(twice)}; every model needs a name of its own")
    taken = sorted({BEST_TEACHER, TEACHERS_CONCAT} & set(models) | set(STUDENTS) & set(teachers))
    if taken:
        raise ConfigError(f"{', '.join(taken)}: the evaluation uses this name itself; choose another for the model")
    if strangers := sorted(set(teachers) - set(models)):
        raise ConfigError(f"teachers that are not among the models: {', '.join(strangers)}")
