"""The student: any open_clip architecture, by name or by its config."""

import json
from pathlib import Path
from typing import Any

import torch

from mmkd.errors import ConfigError, ModelError
from mmkd.open_clip_folder import OpenClipModel, architecture, build
from mmkd.student.settings import StudentSettings


def build_student(settings: StudentSettings, seed: int) -> OpenClipModel:
    """The student before stage 1. Equal seeds give equal weights; torch's global generator is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(_config(settings), _preprocess(settings), settings.tokenizer, settings.pretrained_towers)
    scale: Any = model.network.logit_scale
    with torch.no_grad():
        scale.fill_(torch.tensor(settings.init_scale).log())
    if settings.weights is not None:
        _load_weights(model, settings.weights)
    return model


def _config(settings: StudentSettings) -> dict[str, Any]:
    if settings.model is not None:
        return architecture(settings.model)
    if not isinstance(settings.config, Path):
        return dict(settings.config or {})
    try:
        found = json.loads(settings.config.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"student.config {settings.config}: not a readable JSON file ({error})") from error
    return dict(found.get("model_cfg", found))


def _preprocess(settings: StudentSettings) -> dict[str, Any]:
    given = {"mean": settings.mean, "std": settings.std, "resize_mode": settings.resize_mode}
    return {name: value for name, value in given.items() if value is not None}


def _load_weights(model: OpenClipModel, path: Path) -> None:
    from open_clip.factory import load_checkpoint

    try:
        load_checkpoint(model.network, str(path), strict=True, weights_only=True)
    except Exception as error:  # torch, pickle and key errors alike mean that the file does not fit
        raise ModelError(f"student.weights {path} does not load into this architecture: {error}") from error
