"""The stage `evaluate`: every model on every data set; embeddings, then predictions, then results."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from mmkd.device import prepare
from mmkd.errors import ConfigError
from mmkd.evaluation.combinations import Combination, combinations, forget_others, predict
from mmkd.evaluation.data_sets.choose import chosen_cards
from mmkd.evaluation.data_sets.opened import DataSet, DecodedImages, open_data_set
from mmkd.evaluation.embed import embed
from mmkd.evaluation.format.results import BEST_TEACHER, STUDENT, STUDENTS, TEACHERS_CONCAT
from mmkd.evaluation.format.settings import NULLS, EvaluateSettings
from mmkd.evaluation.gallery.gallery import write_gallery
from mmkd.evaluation.gallery.heat_map_pages import write_heat_maps
from mmkd.evaluation.leakage.audit import audit
from mmkd.evaluation.leakage.matches import tainted
from mmkd.evaluation.models.embeddings import embeddings_path, read_embeddings
from mmkd.evaluation.models.encoders import Candidate, model_candidate, null_candidate
from mmkd.evaluation.slides.bags import write_bags
from mmkd.evaluation.summary.scores import Resampling
from mmkd.evaluation.summary.summary import CARDS, write_results
from mmkd.evaluation.summary.tables import printed
from mmkd.folders.atomic import atomic_file
from mmkd.progress import say, track
from mmkd.settings import Machine
from mmkd.teachers.zoo.settings import TeacherSpec

HEAT_MAPS_A_CLASS = 2
DIAGNOSIS = "diagnosis"
BAGS = "bags"


def evaluate(
    settings: EvaluateSettings,
    data_sets: Sequence[DataSet],
    models: Sequence[TeacherSpec],
    teachers: Sequence[str],
    folder: Path,
    machine: Machine,
    seed: int,
    corpus: Path | None = None,
) -> dict[str, int]:
    """Leave embeddings, predictions, pictures and the tables of results in the folder; returns counts.

    data_sets: of the settings' cards. models: teachers and students alike, one in memory at a time. teachers: the names
    of those that are teachers; two or more also make the ensemble `teachers_concat`. corpus: what the students were
    trained on, for the leakage audit. What the folder has of an earlier or a cut-off call is not made again. Raises
    ConfigError, DataError or ModelError before results are written; nothing is skipped.
    """
    _check_names([spec.name for spec in models], teachers)
    device, images = prepare(machine), DecodedImages(machine.decoded_cache_mb)
    reference = _reference(models)
    candidates = [model_candidate(spec) for spec in models]
    candidates += [null_candidate(name, reference, seed) for name in settings.nulls]
    _embed_all(candidates, data_sets, folder, device, images, settings, machine)
    wanted = [one for data_set in data_sets for one in combinations(data_set, _members(candidates, teachers))]
    made = _predict_all(wanted, folder, settings, seed)
    _write_cards(folder, data_sets)
    _write_pictures(wanted, reference.name, folder, images, settings, seed)
    if settings.bags:
        _write_bags(candidates, data_sets, folder)
    if settings.audit:
        judge = candidates[[candidate.name for candidate in candidates].index(reference.name)]
        audit(data_sets, corpus, folder, images, judge, device, machine.loaders)
    resampling = Resampling(settings.bootstrap, settings.confidence, seed)
    names = [spec.name for spec in models]
    summary = write_results(folder, teachers, resampling, names, partial(tainted, folder))
    say(printed(summary.results, summary.comparisons, teachers, summary.rankings))
    return {
        "models": len(models),
        "data_sets": len(data_sets),
        "samples": sum(len(data_set.samples) for data_set in data_sets),
        "predictions": made,
        "results": len(summary.results),
    }


def open_data_sets(settings: EvaluateSettings) -> list[DataSet]:
    """The data sets of the settings' cards; their digests by card id are the `inputs` of the stage."""
    return [open_data_set(card) for card in chosen_cards(settings)]


def _members(candidates: Sequence[Candidate], teachers: Sequence[str]) -> Mapping[str, Sequence[Candidate]]:
    """What stands in the tables: every model, and the teachers as one."""
    members: dict[str, Sequence[Candidate]] = {candidate.name: [candidate] for candidate in candidates}
    if len(teachers) > 1:
        members[TEACHERS_CONCAT] = [candidate for candidate in candidates if candidate.name in teachers]
    return members


def _embed_all(
    candidates: Sequence[Candidate],
    data_sets: Sequence[DataSet],
    folder: Path,
    device: torch.device,
    images: DecodedImages,
    settings: EvaluateSettings,
    machine: Machine,
) -> None:
    pictured = [data_set for data_set in data_sets if data_set.images]
    for candidate in candidates:
        embed(candidate, pictured, folder, device, images, settings.batch_size, machine.loaders)


def _predict_all(wanted: Sequence[Combination], folder: Path, settings: EvaluateSettings, seed: int) -> int:
    """Returns how many predictions were made; those that were there already do not count."""
    forget_others(folder, wanted)
    return sum(predict(one, folder, settings, seed) for one in track(wanted, "predict", len(wanted), "predictions"))


def _write_cards(folder: Path, data_sets: Sequence[DataSet]) -> None:
    """`cards.jsonl`: what the report says of the data sets, without the paths of their layouts."""
    with atomic_file(folder / CARDS) as stream:
        for data_set in data_sets:
            told = data_set.card.model_dump(mode="json", exclude={"layout"})
            splits = [sample.split for sample in data_set.samples]
            told["found"] = {split: splits.count(split) for split in dict.fromkeys(splits)}
            stream.write(json.dumps(told).encode() + b"\n")


def _write_pictures(
    wanted: Sequence[Combination],
    model: str,
    folder: Path,
    images: DecodedImages,
    settings: EvaluateSettings,
    seed: int,
) -> None:
    """Errors, examples and heat maps of one model."""
    for one in wanted:
        if one.model == model and one.task == one.data_set.card.tasks[0]:
            write_gallery(folder, one.data_set, model, images, settings.gallery)
        if one.model == model and one.task == DIAGNOSIS and settings.gallery:
            write_heat_maps(folder, one.subject(folder, settings, seed), HEAT_MAPS_A_CLASS)


def _write_bags(candidates: Sequence[Candidate], data_sets: Sequence[DataSet], folder: Path) -> None:
    """`bags/<set>/<model>/<slide>.h5` of the data sets of slides, for other tools."""
    for data_set in data_sets:
        if DIAGNOSIS in data_set.card.tasks and data_set.images:
            for candidate in candidates:
                stored = read_embeddings(embeddings_path(folder, data_set.card.id, candidate.name))
                home = folder / BAGS / data_set.card.id / candidate.name
                write_bags(home, data_set.samples, data_set.images, stored.image_ID)


def _reference(models: Sequence[TeacherSpec]) -> TeacherSpec:
    """The student, or where there is none the first model."""
    return next((spec for spec in models if spec.name == STUDENT), models[0])


def _check_names(models: Sequence[str], teachers: Sequence[str]) -> None:
    if not models:
        raise ConfigError("no model to evaluate")
    twice = sorted({name for name in models if models.count(name) > 1})
    if twice:
        raise ConfigError(f"models named twice: {', '.join(twice)}; every model needs a name of its own")
    reserved = {BEST_TEACHER, TEACHERS_CONCAT, *NULLS}
    taken = sorted(reserved & set(models) | set(STUDENTS) & set(teachers))
    if taken:
        raise ConfigError(f"{', '.join(taken)}: the evaluation uses this name itself; choose another for the model")
    if strangers := sorted(set(teachers) - set(models)):
        raise ConfigError(f"teachers that are not among the models: {', '.join(strangers)}")
