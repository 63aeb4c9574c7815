"""Stage 1 in twelve steps, and what its folder holds."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from mmkd.training.settings.train import PretrainSettings

WEIGHTS = "open_clip_model.safetensors"
SETTINGS = PretrainSettings(epochs=2, batch_size=16, lr=1e-3, checkpoint_every=5, log_every=1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS)


def same(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return all(torch.equal(a[name], b[name]) for name in a)
