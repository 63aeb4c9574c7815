"""Stage 1 in twelve steps, and what its folder holds."""

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from mmkd.training.settings.train import PretrainSettings

WEIGHTS = "open_clip_model.safetensors"
SETTINGS = PretrainSettings(epochs=2, batch_size=16, lr=1e-3, checkpoint_every=5, log_every=1)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / WEIGHTS)


def assert_trained_alike(left: Path, right: Path, lr: float = SETTINGS.lr) -> None:
    """The weights differ by less than a tenth of what one step moves a weight, which AdamW makes about the rate.

    Rounding adds up over the steps, by how much depends on the processor; another gradient is whole steps away.
    """
    a, b = weights(left), weights(right)
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], rtol=0, atol=0.1 * lr, msg=partial("{0}: {1}".format, name))


def same(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return all(torch.equal(a[name], b[name]) for name in a)
