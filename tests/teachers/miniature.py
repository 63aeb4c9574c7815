"""Teachers of the zoo with small sizes.

What loads silently wrong is kept as in the entry: activation, pooling, kind of tower, preparation, layout.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import timm
from PIL import Image
from timm.models import register_model
from torch import nn

from mmkd.settings import overlaid
from mmkd.teachers.adapters.open_clip import model_config
from mmkd.teachers.zoo.entry import ZooEntry, zoo

CONTEXT, DIM, SIDE, WIDTH = 20, 24, 32, 32
CAPTIONS = [
    "",
    "A chest radiograph",
    "drusen  on optical coherence\ttomography &amp; fundus",
    "stained with H&E: gland, nucleus, stroma",
    "nodule " * 60,
]
SMALL_BERT = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_TOWER = {**SMALL_BERT, "intermediate_size": 64}
SMALL_PATCH = {32: 16, 16: 8, 14: 4}  # different sizes stay different


def pictures() -> list[Image.Image]:
    """Wide, tall and grey: each is resized and cropped in another way."""
    pixels = np.random.default_rng(7)
    sizes = ((40, 61, 3), (90, 33, 3), (50, 50))
    return [Image.fromarray(pixels.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


def every_form(adapters: Sequence[str] = ("open_clip", "transformers")) -> list[tuple[str, str | None, int]]:
    """(name, variant, which set of files) of every usable entry of the adapters."""
    usable = [entry for entry in zoo().values() if entry.status == "usable" and entry.adapter in adapters]
    return [
        (entry.name, variant, index)
        for entry in usable
        for variant in entry.variant_names or [None]
        for index in range(len(entry.variant(variant).weights.files))  # type: ignore[union-attr]
    ]


# ---- small entries


def miniature(entry: ZooEntry) -> ZooEntry:
    """The entry, a variant applied, with small sizes."""
    data = entry.model_dump()
    if entry.adapter == "open_clip":
        data |= {"architecture": "", "config": _small_model(model_config(entry))}
        side = data["config"]["vision_cfg"]["image_size"]
    else:
        data["config"], side = _small_transformers(entry.config), SIDE
    if entry.text:
        data["bert"] = {**SMALL_BERT, "vocab_size": 120, "max_position_embeddings": CONTEXT + 2}
    data |= {"dim": DIM if entry.name != "medsiglip" else WIDTH, "context_length": CONTEXT}
    return ZooEntry.model_validate(overlaid(data, {"preprocess": {"size": [side, side]}}))


def _small_model(config: dict[str, Any]) -> dict[str, Any]:
    vision, text = config["vision_cfg"], {**config["text_cfg"], "context_length": CONTEXT}
    if "timm_model_name" in vision:
        vision = {**vision, "timm_model_name": small_timm(vision["timm_model_name"]), "image_size": SIDE}
    elif isinstance(vision["layers"], list):  # a ResNet, whose output is a 32nd of its input
        vision = {**vision, "layers": [1, 1, 1, 1], "width": 8, "image_size": 2 * SIDE}
    else:
        patch = SMALL_PATCH[vision["patch_size"]]
        vision = {**vision, "image_size": SIDE, "layers": 2, "width": WIDTH, "head_width": 16, "patch_size": patch}
    if "hf_model_name" not in text:
        text |= {"width": WIDTH, "heads": 2, "layers": 2}
    return {**config, "embed_dim": DIM, "vision_cfg": vision, "text_cfg": text}


def _small_transformers(config: dict[str, Any]) -> dict[str, Any]:
    patch = SMALL_PATCH[config["vision_config"]["patch_size"]]
    vision = {**config["vision_config"], **SMALL_TOWER, "image_size": SIDE, "patch_size": patch}
    text = {**config["text_config"], **SMALL_TOWER, "max_position_embeddings": CONTEXT}
    if config["model_type"] == "siglip":
        return {**config, "vision_config": vision, "text_config": {**text, "vocab_size": 120, "projection_size": WIDTH}}
    sized = {"projection_dim": DIM}
    return {**config, **sized, "vision_config": {**vision, **sized}, "text_config": {**text, **sized}}


def small_timm(name: str) -> str:
    """A model of timm's, with small sizes, under a name of its own that open_clip can ask timm for."""
    small = f"small_{name.split('.')[0]}"
    if not timm.is_model(small):

        def entrypoint(pretrained: bool = False, **settings: Any) -> nn.Module:
            sizes = {"img_size": SIDE, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
            return timm.create_model(name, pretrained=False, **settings, **sizes)

        entrypoint.__name__ = small
        register_model(entrypoint)
    return small
