"""Stage 2: the teachers' cached features are distilled into the student."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from mmkd import open_clip_folder
from mmkd.calibrate.calibration import Calibration, load_calibration
from mmkd.calibrate.projections import linear_projections, train_autoencoder
from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures, open_features
from mmkd.settings import Machine
from mmkd.stage import atomic_file
from mmkd.training.distill_settings import DistillSettings
from mmkd.training.objectives.affinity import Affinity
from mmkd.training.objectives.contrastive import Contrastive
from mmkd.training.objectives.mmkd import Mmkd
from mmkd.training.objectives.objective import TeacherShape
from mmkd.training.order import batch_at, steps_per_epoch
from mmkd.training.pretrain import train
from mmkd.training.teacher_targets import teacher_targets

PROJECTIONS = "projections.safetensors"
AUTOENCODER_BATCH = 256


@dataclass(frozen=True)
class Inputs:
    """The finished folders that stage 2 reads, and the names of the teachers among the features."""

    student: Path
    corpus: Path
    features: Path
    calibration: Path
    teachers: list[str]


def distill(
    settings: DistillSettings, inputs: Inputs, folder: Path, machine: Machine, seed: int, home: Path | None = None
) -> dict[str, int]:
    """Body of the stage: go on from the stage-1 student; leave the new one in `folder` as an open_clip folder."""
    corpus = Corpus(inputs.corpus)
    model = open_clip_folder.load(inputs.student)
    if settings.objective == "contrastive":
        return train(model, Contrastive(), settings, corpus, None, folder, machine, seed, home)
    features = open_features(inputs.features, corpus, inputs.teachers)
    calibration = load_calibration(inputs.calibration)
    _check_teachers(inputs, calibration)
    targets = teacher_targets(settings, corpus, corpus.rows("train"), features, calibration, seed)
    objective: Affinity | Mmkd
    if settings.objective == "affinity":
        objective = Affinity(settings, model.dim, [_shape(calibration, t) for t in range(len(features))])
        _init_heads(objective, seed)
    else:
        objective = Mmkd(settings, _projections(settings, model.dim, corpus, features, folder, seed))
    return train(model, objective, settings, corpus, targets, folder, machine, seed, home)


def _check_teachers(inputs: Inputs, calibration: Calibration) -> None:
    calibrated = [teacher.name for teacher in calibration.teachers]
    if inputs.teachers != calibrated:
        raise DataError(
            f"the teachers are {', '.join(inputs.teachers)}, but {inputs.calibration} was made from "
            f"{', '.join(calibrated)}; run 'mmkd calibrate' again"
        )


def _shape(calibration: Calibration, t: int) -> TeacherShape:
    teacher = calibration.teachers[t]
    image_mean, text_mean = (torch.from_numpy(mean).float() for mean in (teacher.image_mean, teacher.text_mean))
    return TeacherShape(
        teacher.dim, teacher.scale, teacher.image_dispersion, teacher.text_dispersion, image_mean, text_mean
    )


def _init_heads(objective: Affinity, seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in objective.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()


def _projections(
    settings: DistillSettings, latent: int, corpus: Corpus, features: list[TeacherFeatures], folder: Path, seed: int
) -> list[nn.Module]:
    """The frozen maps into the student's dimension; trained once, kept for a run that is resumed."""
    dims = [teacher.dim for teacher in features]
    if settings.mmkd.projection == "linear":
        return list(linear_projections(dims, latent, seed))
    path = folder / PROJECTIONS
    if not path.is_file():
        rows = corpus.rows("train")
        batch = min(AUTOENCODER_BATCH, len(rows))
        steps = settings.mmkd.autoencoder_epochs * steps_per_epoch(len(rows), batch)

        def batches(step: int) -> list[tuple[Tensor, Tensor, Tensor]]:
            taken = [teacher.take(rows[batch_at(step, len(rows), batch, seed)]) for teacher in features]
            return [
                (torch.from_numpy(image).float(), torch.from_numpy(text).float(), torch.from_numpy(valid))
                for image, text, valid in taken
            ]

        trained = train_autoencoder(dims, latent, batches, steps, seed)
        state = nn.ModuleList(trained).state_dict()
        with atomic_file(path) as stream:
            stream.write(to_bytes(state))
    projections = nn.ModuleList(nn.Linear(dim, latent) for dim in dims)
    projections.load_state_dict(load_file(path))
    return list(projections)
