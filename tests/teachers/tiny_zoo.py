"""Tiny entries of a zoo, and the same models as open_clip itself computes them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from mmkd.teachers.zoo.entry import ZooEntry, zoo
from tiny import tiny_config

PREPROCESS = {"size": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
WEIGHTS = "model.safetensors"


def tiny_entry(name: str = "tiny", **changes: Any) -> ZooEntry:
    """CLIP's tokenizer and a one-layer network with GELU; the variant `quick` has QuickGELU."""
    facts: dict[str, Any] = {
        "name": name,
        "title": name.capitalize(),
        "paper": "none",
        "modalities": ["x-ray"],
        "licence": "MIT",
        "use": "commercial",
        "adapter": "open_clip",
        "dim": 16,
        "context_length": 16,
        "config": tiny_config(),
        "preprocess": PREPROCESS,
        "weights": {"repo": f"lab/{name}", "files": [[WEIGHTS]]},
        "reference": name.upper(),
        "default": "plain",
        "default_reason": "as its config says",
        "variants": {"quick": {"reason": "as its ancestor was", "set": {"config": {"quick_gelu": True}}}},
    }
    return ZooEntry(**{**facts, **changes})


def tiny_network(seed: int, quick: bool = False, dim: int = 16) -> open_clip.CLIP:
    """open_clip's own, with an MLP that outweighs the rest and works where GELU and QuickGELU differ most."""
    torch.manual_seed(seed)
    parts: dict[str, Any] = tiny_config(dim)
    network = open_clip.CLIP(dim, parts["vision_cfg"], parts["text_cfg"], quick_gelu=quick).eval()
    with torch.no_grad():
        for key, weight in network.named_parameters():
            if key.endswith("c_fc.bias"):
                weight.uniform_(-3.0, 0.0)
            elif key.endswith("c_proj.weight"):
                weight.mul_(200)
    return network


def use_zoo(monkeypatch: pytest.MonkeyPatch, *entries: ZooEntry) -> None:
    """Put the entries in the place of the real ones, wherever these have been imported."""
    known, real = {entry.name: entry for entry in entries}, zoo
    for module in list(sys.modules.values()):
        if vars(module).get("zoo") is real:
            monkeypatch.setattr(module, "zoo", lambda: known)


def save_weights(network: torch.nn.Module, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / WEIGHTS)


@torch.inference_mode()
def open_clips_vectors(network: Any, images: Sequence[Image.Image], captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(N, D) of images and of captions, of norm 1."""
    transform = image_transform_v2(PreprocessCfg(**PREPROCESS), is_train=False)
    ids = open_clip.SimpleTokenizer(context_length=16)(list(captions))
    image_ND = network.encode_image(torch.stack([transform(image) for image in images]))
    return F.normalize(image_ND, dim=1), F.normalize(network.encode_text(ids), dim=1)
