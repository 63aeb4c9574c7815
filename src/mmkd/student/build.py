"""The student: any open_clip architecture, by name, by its config, or with the weights that it starts from."""

from pathlib import Path
from typing import Any

import torch

from mmkd.errors import ModelError
from mmkd.randomness import Purpose, seed_of
from mmkd.student.settings import StudentSettings
from mmkd.student.start import start_of
from mmkd.teachers.files.open_clip_folder import OpenClipModel, build, fill

FIRST_SCALE = 14.3  # 1 / .07, CLIP's


def build_student(settings: StudentSettings, seed: int) -> OpenClipModel:
    """The student before stage 1. Equal seeds give equal weights; torch's global generator is left as it was.

    Raises ConfigError for an architecture or a tag that open_clip does not know, ModelError for weights that cannot be
    had or do not fit.
    """
    start = start_of(settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, Purpose.STUDENT_WEIGHTS))
        model = build(start.config, start.preprocess, start.tokenizer, settings.pretrained_towers)
    if start.weights is not None:
        _load_weights(model, start.weights, start.named)
    if start.weights is None or settings.init_scale is not None:
        scale: Any = model.network.logit_scale
        with torch.no_grad():
            scale.fill_(torch.tensor(settings.init_scale or FIRST_SCALE).log())
    return model


def _load_weights(model: OpenClipModel, path: Path, named: str) -> None:
    """With positions interpolated where the image size or the context is another."""
    try:
        fill(model.network, path)
    except Exception as error:  # torch, pickle and key errors alike mean that the file does not fit
        raise ModelError(f"{named}: {path} does not load into this architecture: {error}") from error
