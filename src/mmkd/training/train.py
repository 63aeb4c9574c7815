"""The bodies of both training stages, and what they share: fit a model to the split `train`, leave it in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.errors import ConfigError, DataError, ModelError
from mmkd.features.store import open_features
from mmkd.images.transform import from_compose, seen_part
from mmkd.progress import say
from mmkd.randomness import Purpose, torch_generator
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.encoders.patches import TowerPatches, patches_of_tower
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import CONFIG, OpenClipModel, save
from mmkd.training.batches import PairImages, StepBatches
from mmkd.training.data.caption_bank import caption_bank, trained_rows
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import captions_done, tokenise
from mmkd.training.loop import CHECKPOINTS, Fit, Place, fit
from mmkd.training.matryoshka import check_matryoshka
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.records.checkpoint_files import with_room
from mmkd.training.records.metrics_log import count_skipped
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES
from mmkd.training.settings.train import PretrainSettings, TrainSettings
from mmkd.training.targets.frozen_targets import frozen_targets
from mmkd.training.targets.patch_relations import places_to_follow
from mmkd.training.targets.stored import stored_done
from mmkd.training.targets.teacher_targets import TeacherTargets, teacher_targets
from mmkd.training.validate import Validation

CAPTIONLESS = "captionless"  # a count, where it is not 0
VALIDATION = "validation"  # a folder for what a resume needs of the split `val`


def train(
    model: OpenClipModel,
    objective: Any,
    settings: TrainSettings,
    corpus: Corpus,
    place: Place,
    teachers: TeacherTargets | None = None,
    group_N: np.ndarray | None = None,
    shuffle: bool = True,
    patches: TowerPatches | None = None,
    rows: np.ndarray | None = None,
) -> Mapping[str, int]:
    """Fit the model to the objective, save it, and clear what only a resume needs; returns counts for the manifest.

    rows: of the corpus, to learn from; without, all pairs of the split `train`. Pictures without a caption among them
    get one of their group at each step. group_N: the group of each row of the corpus, for this, for balanced sampling
    and for validation; its modality without one. patches: how the student gives patches, where a term asks for them.

    The config is the last file that `save` writes: where it is there, an earlier run was killed after training.
    """
    folder, world = place.folder, place.world
    check_matryoshka(settings.matryoshka, model.dim)
    device = prepare(place.machine, world.local_rank if world.size > 1 else None)
    rows = corpus.pairs("train") if rows is None else rows
    captioned_N = corpus.captioned[rows]
    groups = corpus.modalities if group_N is None else group_N
    order = Order(len(rows), settings.batch_size, place.seed, shuffle, groups[rows], settings.balance)
    finished = world.agree((folder / CONFIG).is_file())
    if not finished:
        images = PairImages(corpus, rows, model, place.machine.decoded_cache_mb)
        captions = tokenise(corpus, rows, model.tokenizer, folder, world)
        bank = caption_bank(captioned_N, captions.code_N, groups[rows], place.seed)
        batches = StepBatches(rows, images, captions, teachers, order, world, bank)
        validation = _validation(model, settings, corpus, groups, place)
        run = Fit(model, objective, batches, settings, place, device, validation, patches)
        weights = fit(run)
        if world.first:
            write = partial(save, model, folder, place.home, weights)
            with_room(run.checkpoints, "the student", None, write)
    world.wait()
    if world.first:
        rmtree(folder / CHECKPOINTS, ignore_errors=True)
        captions_done(folder)
        stored_done(folder)
        rmtree(folder / VALIDATION, ignore_errors=True)
    steps, skipped = settings.epochs * order.steps_per_epoch, count_skipped(folder)
    counts = {"steps": steps, "pairs": len(rows)}
    if captionless := int(np.count_nonzero(~captioned_N)):
        counts[CAPTIONLESS] = captionless
    return counts | ({"skipped_steps": skipped} if skipped else {})


def _validation(
    model: OpenClipModel, settings: TrainSettings, corpus: Corpus, group_N: np.ndarray, place: Place
) -> Validation | None:
    if not settings.validate_every:
        return None
    try:
        rows = corpus.pairs("val")
    except DataError as error:
        raise ConfigError(f"validate_every is {settings.validate_every}, but {error}") from error
    images = PairImages(corpus, rows, model, place.machine.decoded_cache_mb)
    captions = tokenise(corpus, rows, model.tokenizer, place.folder / VALIDATION, place.world)
    return Validation(images, captions, group_N[rows], settings.batch_size, place.seed)


def pretrain(
    settings: PretrainSettings, student: StudentSettings, corpus_folder: Path, place: Place
) -> Mapping[str, int]:
    """Body of stage 1: train a student from its settings, contrastively, and leave it as an open_clip folder."""
    model, corpus = build_student(student, place.seed), Corpus(corpus_folder)
    rows = corpus.rows("train")
    if without := np.count_nonzero(~corpus.captioned[rows]):
        say(f"{without:,} of {len(rows):,} pictures have no caption and are left out of stage 1")
    return train(model, Contrastive(settings), settings, corpus, place)


@dataclass(frozen=True)
class Inputs:
    """The finished folders that stage 2 reads, and the names of the teachers among the features."""

    student: Path
    corpus: Path
    features: Path
    reliability: Path
    teachers: list[str]


def distill(settings: DistillSettings, inputs: Inputs, place: Place) -> Mapping[str, int]:
    """Body of stage 2: go on from the stage-1 student; leave the new one as an open_clip folder."""
    corpus = Corpus(inputs.corpus)
    model = open_clip_folder.load(inputs.student)
    reliability = load_reliability(inputs.reliability)
    rows = trained_rows(settings, corpus, reliability)
    teachers, shapes = _teachers(settings, inputs, corpus, rows, reliability, model.dim, place)
    patches = None
    if teachers is not None and teachers.grid:
        patches, teachers = _patches(settings, model, teachers)
    generator = torch_generator(place.seed, Purpose.OBJECTIVE_WEIGHTS)
    objective = OBJECTIVES[settings.objective].load()(settings, model.dim, shapes, generator)
    if teachers is not None and teachers.captions_alone:
        objective.learn_from_captions()
    shuffle = not settings.is_reference or settings.reference.shuffle
    groups = reliability.groups(corpus)
    return train(model, objective, settings, corpus, place, teachers, groups, shuffle, patches, rows)


def _patches(
    settings: DistillSettings, model: OpenClipModel, teachers: TeacherTargets
) -> tuple[TowerPatches, TeacherTargets]:
    """How the student gives patches on the teachers' grid, and the teachers with those that it follows there.

    Raises ConfigError where it cannot, or may not, follow.
    """
    grid = teachers.grid
    if problem := settings.patch_problem(grid):
        raise ConfigError(problem)
    places = places_to_follow(teachers.features, grid, seen_part(from_compose(model.transform)))
    try:
        return patches_of_tower(model.network.get_submodule("visual"), grid), replace(teachers, patch_places=places)
    except ModelError as error:
        raise ConfigError(
            f"the term 'patches' needs a student that gives patches on the teachers' grid: {error}; choose another "
            "student, or take the term out"
        ) from error


def _teachers(
    settings: DistillSettings,
    inputs: Inputs,
    corpus: Corpus,
    rows: np.ndarray,
    reliability: ReliabilityTable,
    dim: int,
    place: Place,
) -> tuple[TeacherTargets | None, list[TeacherShape]]:
    """The teachers' side of the training pairs (N,) and what the objective knows of each; none without a teacher."""
    if settings.objective == "contrastive":
        return None, []
    features = open_features(inputs.features, corpus, inputs.teachers)
    _check_teachers(inputs, reliability)
    teachers = teacher_targets(settings, corpus, rows, features, reliability, place.seed, place.folder, place.world)
    targets = frozen_targets(settings, dim, rows, teachers, place.folder, place.seed, place.world)
    scales = [teacher.scale for teacher in reliability.teachers]
    return teachers, [TeacherShape(scale, target) for scale, target in zip(scales, targets, strict=True)]


def _check_teachers(inputs: Inputs, reliability: ReliabilityTable) -> None:
    measured = [teacher.name for teacher in reliability.teachers]
    if inputs.teachers != measured:
        raise DataError(
            f"the teachers are {', '.join(inputs.teachers)}, but {inputs.reliability} was made from "
            f"{', '.join(measured)}; run 'mmkd reliability' again"
        )
