"""A student of which only the first dimensions of its vectors are kept.

Trained with `matryoshka`, they are vectors by themselves (arXiv 2205.13147).
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.errors import ConfigError
from mmkd.teachers.files.open_clip_folder import OpenClipModel, build_network

PROBES = 4  # random pictures and texts on which both models must agree
WITHIN = 1e-4  # the least cosine between them is 1 less this


def first_dimensions(model: OpenClipModel, dim: int) -> OpenClipModel:
    """The model whose vectors are the first `dim` dimensions of the given one's, at length 1; it is an open_clip model.

    Only the layers that end the towers are another: they lose rows. Raises ConfigError where the model has not more
    dimensions than `dim`, or where its architecture makes its vectors in another way.
    """
    if not 0 < dim < model.dim:
        raise ConfigError(f"the model has vectors of {model.dim} dimensions; give a number from 1 to {model.dim - 1}")
    config = {**deepcopy(model.config), "embed_dim": dim}
    network = build_network(config, model.preprocess)
    network.load_state_dict(_cut(model.network.state_dict(), network.state_dict(), model.dim, dim))
    network.to(next(model.network.parameters()).device).eval()
    found = OpenClipModel(network, model.tokenizer, config, model.preprocess)
    _check(model, found, dim)
    return found


def _cut(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], whole: int, dim: int) -> dict[str, Tensor]:
    """The first `dim` of every axis that had `whole` and is to have `dim`."""
    found = {}
    for name, like in wanted.items():
        value = weights[name]
        for axis, (size, asked) in enumerate(zip(value.shape, like.shape, strict=True)):
            if (size, asked) == (whole, dim):
                value = value.narrow(axis, 0, dim)
        if value.shape != like.shape:
            raise ConfigError(
                f"the weight {name!r} has the shape {tuple(weights[name].shape)}, and one of {tuple(like.shape)} is "
                f"not its beginning: the first {dim} dimensions of this architecture are no model of their own"
            )
        found[name] = value.clone()
    return found


def _check(model: OpenClipModel, cut: OpenClipModel, dim: int) -> None:
    """Raise ConfigError unless both agree on made-up pictures and texts."""
    for whole, part in zip(_probed(model), _probed(cut), strict=True):
        cosine = (F.normalize(whole[:, :dim], dim=1) * part).sum(dim=1)
        if not bool((cosine > 1 - WITHIN).all()):
            raise ConfigError(
                f"the first {dim} dimensions of this architecture are no model of their own: its vectors differ from "
                f"the beginning of the whole ones (cosine {float(cosine.min()):.4f}); keep all {model.dim}"
            )


@torch.no_grad()
def _probed(model: OpenClipModel) -> tuple[Tensor, Tensor]:
    """Unit vectors of the same made-up pictures and texts, whatever the model."""
    network: Any = model.network
    was_training = network.training
    network.eval()
    size = network.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    first: nn.Parameter = next(network.parameters())
    pixels = torch.linspace(-2.0, 2.0, PROBES * 3 * height * width).sin().reshape(PROBES, 3, height, width)
    token_BL = model.tokenizer([f"picture {'of a finding ' * number}" for number in range(PROBES)])
    try:
        image_BD = network.encode_image(pixels.to(first.device, first.dtype), normalize=True)
        text_BD = network.encode_text(token_BL.to(first.device), normalize=True)
    finally:
        network.train(was_training)
    return image_BD.float(), text_BD.float()
