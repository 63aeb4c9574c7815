"""What both stages do with a model and an objective: fit it to the split `train`, and leave it in a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.device import prepare
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError
from mmkd.settings import Machine
from mmkd.teachers.files.open_clip_folder import CONFIG, OpenClipModel, save
from mmkd.training.batches import PairImages, StepBatches
from mmkd.training.data.order import Order
from mmkd.training.data.tokens import captions_done, tokenise
from mmkd.training.loop import CHECKPOINTS, Fit, fit
from mmkd.training.records.checkpoint_files import with_room
from mmkd.training.records.skipped import count_skipped
from mmkd.training.settings.train import TrainSettings
from mmkd.training.targets.teacher_targets import TeacherTargets
from mmkd.training.validate import Validation

VALIDATION = "validation"  # a folder for what a resume needs of the split `val`


@dataclass(frozen=True)
class Place:
    """Where a stage works. folder: the partial one; home: where it will stand in the end; world: who works with it."""

    folder: Path
    machine: Machine
    seed: int
    home: Path | None = None
    world: World = ALONE


def train(
    model: OpenClipModel,
    objective: Any,
    settings: TrainSettings,
    corpus: Corpus,
    place: Place,
    teachers: TeacherTargets | None = None,
    group_N: np.ndarray | None = None,
    shuffle: bool = True,
) -> Mapping[str, int]:
    """Fit the model to the objective, save it, and clear what only a resume needs; returns counts for the manifest.

    group_N: the group of each row of the corpus, for balanced sampling and validation; its modality without one.
    The config is the last file that `save` writes: where it is there, an earlier run was killed after training.
    """
    folder, world = place.folder, place.world
    device = prepare(place.machine, world.local_rank if world.size > 1 else None)
    rows = corpus.rows("train")
    groups = corpus.modalities if group_N is None else group_N
    order = Order(len(rows), settings.batch_size, place.seed, shuffle, groups[rows], settings.balance)
    finished = world.agree((folder / CONFIG).is_file())
    if not finished:
        images = PairImages(corpus, rows, model, place.machine.decoded_cache_mb)
        captions = tokenise(corpus, rows, model.tokenizer, folder, world)
        batches = StepBatches(rows, images, captions, teachers, order, world)
        validation = _validation(model, settings, corpus, groups, place)
        run = Fit(
            model,
            objective,
            batches,
            settings,
            place.machine,
            device,
            folder,
            place.seed,
            validation,
            world,
            name=(place.home or folder).name,
        )
        weights = fit(run)
        if world.first:
            write = partial(save, model, folder, place.home, weights)
            with_room(run.checkpoints, "the student", None, write)
    world.wait()
    if world.first:
        rmtree(folder / CHECKPOINTS, ignore_errors=True)
        captions_done(folder)
        rmtree(folder / VALIDATION, ignore_errors=True)
    steps, skipped = settings.epochs * order.steps_per_epoch, count_skipped(folder)
    return {"steps": steps, "pairs": len(rows)} | ({"skipped_steps": skipped} if skipped else {})


def _validation(
    model: OpenClipModel, settings: TrainSettings, corpus: Corpus, group_N: np.ndarray, place: Place
) -> Validation | None:
    if not settings.validate_every:
        return None
    try:
        rows = corpus.rows("val")
    except DataError as error:
        raise ConfigError(f"validate_every is {settings.validate_every}, but {error}") from error
    images = PairImages(corpus, rows, model, place.machine.decoded_cache_mb)
    captions = tokenise(corpus, rows, model.tokenizer, place.folder / VALIDATION, place.world)
    return Validation(images, captions, group_N[rows], settings.batch_size, place.seed)
