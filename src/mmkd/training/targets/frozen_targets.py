"""What is done to each teacher's vectors in a stage: fitted once, kept in its folder for a run that is resumed.

Letters: N training pairs, T teachers, D a teacher's dimension, L the student's.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmkd.distributed import World
from mmkd.features.store import TeacherFeatures
from mmkd.randomness import Purpose, generator, seed_of
from mmkd.training.data.order import Order
from mmkd.training.experimental.projections import linear_projections, train_autoencoder
from mmkd.training.experimental.targets import SAMPLE, Target, fit_target, frozen, load_targets, save_targets
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import TeacherTargets

TARGETS = "targets.safetensors"
AUTOENCODER_BATCH = 256


def frozen_targets(
    settings: DistillSettings,
    latent: int,
    rows: np.ndarray,
    teachers: TeacherTargets,
    folder: Path,
    seed: int,
    world: World,
) -> list[Target]:
    """The targets of every teacher, fitted on corpus rows (N,) by the first process and read by all."""
    path = folder / TARGETS
    names = [features.name for features in teachers.features]
    if world.first and not path.is_file():
        save_targets(dict(zip(names, _fitted(settings, latent, rows, teachers, seed), strict=True)), path)
    world.wait()
    return load_targets(path, names)


def _fitted(
    settings: DistillSettings, latent: int, rows: np.ndarray, teachers: TeacherTargets, seed: int
) -> list[Target]:
    kind = settings.reference.projection if settings.is_reference else settings.targets
    rng = generator(seed, Purpose.TARGETS)
    samples = [_sample(settings, rows, teachers, t, rng) for t in range(len(teachers.features))]
    if kind not in ("autoencoder", "linear"):
        return [fit_target(kind, image_ND, text_ND, rng) for image_ND, text_ND in samples]
    dims = [features.dim for features in teachers.features]
    if kind == "linear":
        maps = linear_projections(dims, latent, seed)
    else:
        maps = _autoencoder(settings.reference.autoencoder_epochs, dims, latent, rows, teachers.features, seed)
    return [_as_target(one, *sample) for one, sample in zip(maps, samples, strict=True)]


def _sample(
    settings: DistillSettings, rows: np.ndarray, teachers: TeacherTargets, t: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Image (N, D) and text (N, D) vectors of pairs on which the teacher is trusted; of any, if there are too few."""
    valid_N = teachers.features[t].valid()[rows]
    trusted_N = valid_N & (teachers.weight_NT[:, t] > settings.min_weight)
    chosen = rows[trusted_N if trusted_N.sum() >= 2 else valid_N]
    if len(chosen) > SAMPLE:
        chosen = np.sort(rng.choice(chosen, SAMPLE, replace=False))
    image_ND, text_ND, _ = teachers.features[t].take(chosen)
    return image_ND, text_ND


def _as_target(linear: nn.Linear, image_ND: np.ndarray, text_ND: np.ndarray) -> Target:
    zero_D = np.zeros(linear.in_features)
    bias_L = None if linear.bias is None else linear.bias.detach().numpy()
    return frozen(zero_D, zero_D, linear.weight.detach().numpy().T.copy(), bias_L, image_ND, text_ND)


def _autoencoder(
    epochs: int, dims: list[int], latent: int, rows: np.ndarray, features: list[TeacherFeatures], seed: int
) -> list[nn.Linear]:
    """The reference's code: trained on all pairs, whoever is trusted on them."""
    order = Order(len(rows), min(AUTOENCODER_BATCH, len(rows)), seed_of(seed, Purpose.AUTOENCODER_ORDER))

    def batches(step: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        taken = [teacher.take(rows[order.at(step)]) for teacher in features]
        return [
            (torch.from_numpy(image).float(), torch.from_numpy(text).float(), torch.from_numpy(valid))
            for image, text, valid in taken
        ]

    return train_autoencoder(dims, latent, batches, epochs * order.steps_per_epoch, seed)
