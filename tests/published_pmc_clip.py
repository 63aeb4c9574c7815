"""PMC-CLIP with random weights in its published files, and its vectors from the definition written out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd.settings import overlaid
from mmkd.teachers.zoo.entry import ZooEntry, zoo_entry
from published import ids_by_hand, random_bert

LAYERS, WIDTH, DIM, SIDE, HIDDEN = (2, 1, 1, 1), 8, 24, 64, 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "chest", "radiograph", "of", "the", "left", "lung", "##s"]
CAPTIONS = ["", "Chest radiograph", "of the left lungs", "lung " * 200]
SPLIT = ("image_encoder(resnet50).pth", "text_encoder.pth", "text_projection_layer.pth")
SMALL: dict[str, Any] = {
    "dim": DIM,
    "config": {"layers": LAYERS, "width": WIDTH},
    "bert": {
        **{"vocab_size": len(WORDS), "hidden_size": HIDDEN, "intermediate_size": 48, "max_position_embeddings": 80},
        **{"num_hidden_layers": 2, "num_attention_heads": 4},
    },
    "preprocess": {"size": [SIDE, SIDE]},
}


def small(variant: str | None = None, **changes: Any) -> ZooEntry:
    """The zoo's entry with small sizes; everything else is as published."""
    data = overlaid(zoo_entry("pmc-clip", variant).model_dump(), SMALL)
    return ZooEntry.model_validate(overlaid(data, changes))


def published_shapes(layers: tuple[int, ...], width: int, dim: int, side: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the image encoder, as its published definition makes them."""

    def conv(name: str, norm: str, out: int, into: int, kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", (out, into, kernel, kernel)
        yield from ((f"{norm}.{part}", (out,)) for part in ("weight", "bias", "running_mean", "running_var"))
        yield f"{norm}.num_batches_tracked", ()

    yield from conv("conv1", "bn1", width // 2, 3, 3)
    yield from conv("conv2", "bn2", width // 2, width // 2, 3)
    yield from conv("conv3", "bn3", width, width // 2, 3)
    into = width
    for stage, blocks in enumerate(layers):
        planes = width * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            yield from conv(f"{name}.conv1", f"{name}.bn1", planes, into, 1)
            yield from conv(f"{name}.conv2", f"{name}.bn2", planes, planes, 3)
            yield from conv(f"{name}.conv3", f"{name}.bn3", 4 * planes, planes, 1)
            if block == 0:
                yield from conv(f"{name}.downsample.0", f"{name}.downsample.1", 4 * planes, into, 1)
            into = 4 * planes
    yield "attnpool.positional_embedding", ((side // 32) ** 2 + 1, into)
    for letter, out in (("k", into), ("q", into), ("v", into), ("c", dim)):
        yield f"attnpool.{letter}_proj.weight", (out, into)
        yield f"attnpool.{letter}_proj.bias", (out,)


def drawn(shapes: Iterator[tuple[str, tuple[int, ...]]], seed: int) -> dict[str, Tensor]:
    """Random weights: no two alike, variances positive."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in shapes:
        value = torch.randn(shape, generator=generator) * (0.5 if len(shape) < 2 else shape[-1] ** -0.5 / shape[-1])
        tensors[key] = torch.tensor(7) if key.endswith("tracked") else value.abs() + 0.5 if "var" in key else value
    return tensors


class Published:
    """A model's weights in both published forms, in two folders, each with a vocabulary."""

    def __init__(self, folder: Path) -> None:
        self.visual = drawn(published_shapes(LAYERS, WIDTH, DIM, SIDE), seed=1)
        self.bert = random_bert(SMALL["bert"])
        self.projection = torch.randn(HIDDEN, DIM, generator=torch.Generator().manual_seed(2))
        text = {**self.bert.state_dict(), "embeddings.position_ids": torch.arange(80)[None]}
        both = {f"visual.{k}": v for k, v in self.visual.items()} | {f"text_encoder.{k}": v for k, v in text.items()}
        self.state = {**both, "text_projection": self.projection, **training_only()}
        self.whole, self.split = folder / "whole", folder / "split"
        for place in (self.whole, self.split):
            place.mkdir()
            (place / "vocab.txt").write_text("\n".join(WORDS) + "\n")
        self.write(self.state)
        for name, part in zip(SPLIT, (self.visual, text, self.projection), strict=True):
            torch.save(part, self.split / name)

    def write(self, state: dict[str, Tensor], folder: Path | None = None) -> None:
        """The training checkpoint: DistributedDataParallel's names, a scalar of NumPy's in the optimiser's state."""
        optimizer = {"state": {}, "param_groups": [{"lr": np.float64(1e-4)}]}
        wrapped = {f"module.{key}": value for key, value in state.items()}
        found = {"epoch": 99, "name": "RN50_fusion4", "state_dict": wrapped, "optimizer": optimizer}
        torch.save(found, (folder or self.whole) / "checkpoint.pt")


def training_only() -> dict[str, Tensor]:
    """What the checkpoint holds beside the towers."""
    block = "fusion_module.resblocks.0."
    names = ["ln_final.weight", "ln_final.bias", f"{block}attn.in_proj_weight", f"{block}attn.in_proj_bias"]
    names += [
        f"{block}{part}.{kind}"
        for part in ("attn.out_proj", "ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj")
        for kind in ("weight", "bias")
    ]
    names += ["positional_embedding", "mlm_projection", "logit_scale", "img_special_token"]
    return {name: torch.ones(2) for name in names}


def expected_images(weights: dict[str, Tensor], image_BCHW: Tensor, heads: int) -> Tensor:
    """CLIP's ResNet from its definition, attention written out."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)

    def step(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        kernel = weights[f"{conv}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        stats = (weights[f"{norm}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias"))
        average, variance, scale, shift = stats
        return (x - average) / (variance + 1e-5).sqrt() * scale + shift

    x = (image_BCHW.float() / 255 - mean) / std
    for number in (1, 2, 3):
        x = step(x, f"conv{number}", f"bn{number}", stride=2 if number == 1 else 1).relu()
    x = F.avg_pool2d(x, 2)
    for stage, blocks in enumerate(LAYERS):
        for block in range(blocks):
            name, pool = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = step(x, f"{name}.conv1", f"{name}.bn1").relu()
            y = F.avg_pool2d(step(y, f"{name}.conv2", f"{name}.bn2").relu(), pool)
            y = step(y, f"{name}.conv3", f"{name}.bn3")
            if block == 0:
                x = step(F.avg_pool2d(x, pool), f"{name}.downsample.0", f"{name}.downsample.1")
            x = (x + y).relu()
    x_BPC = x.flatten(2).transpose(1, 2)
    x_BPC = torch.cat([x_BPC.mean(dim=1, keepdim=True), x_BPC], dim=1) + weights["attnpool.positional_embedding"]

    def projected(letter: str, x: Tensor) -> Tensor:
        return x @ weights[f"attnpool.{letter}_proj.weight"].T + weights[f"attnpool.{letter}_proj.bias"]

    split = (*x_BPC.shape[:2], heads, x_BPC.shape[2] // heads)
    q_BHD = projected("q", x_BPC[:, 0]).view(split[0], *split[2:])
    k_BPHD, v_BPHD = projected("k", x_BPC).view(split), projected("v", x_BPC).view(split)
    attention_BHP = (torch.einsum("bhd,bphd->bhp", q_BHD, k_BPHD) / split[3] ** 0.5).softmax(dim=-1)
    pooled_BC = torch.einsum("bhp,bphd->bhd", attention_BHP, v_BPHD).flatten(1)
    return F.normalize(projected("c", pooled_BC), dim=1)


def padded_ids() -> Tensor:
    """The captions' ids (B, 77), by hand."""
    ids = [ids_by_hand(caption, WORDS) for caption in CAPTIONS]
    return torch.tensor([row + [0] * (77 - len(row)) for row in ids])


def expected_texts(model: Published, pooling: str) -> Tensor:
    ids_BL = padded_ids()
    with torch.inference_mode():
        state_BW = model.bert(input_ids=ids_BL, attention_mask=torch.ones_like(ids_BL)).last_hidden_state[:, 0]
        if pooling == "pooler":
            dense = model.bert.pooler.dense
            state_BW = torch.tanh(state_BW @ dense.weight.T + dense.bias)
        return F.normalize(state_BW @ model.projection, dim=1)
