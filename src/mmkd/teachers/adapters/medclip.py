"""MedCLIP: chest radiographs in grey on a black square, a Swin-T or a ResNet-50, and Bio_ClinicalBERT without padding.

Its text tower averages over all token positions, padding included, so that in its own package a caption's vector hangs
on the longest one of the batch. Here every caption goes without padding. Letters: B images or captions, H x W pixels,
L tokens, W width, D dimension.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from PIL import Image
from pydantic import PositiveInt
from torch import Tensor, nn

from mmkd.errors import ConfigError
from mmkd.images.transform import ImageTransform
from mmkd.settings import Settings
from mmkd.teachers.adapters.protocol import ZooAdapter, wordpiece_tokenizer
from mmkd.teachers.encoders.tokens import CaptionTokenizer
from mmkd.teachers.zoo.entry import ZooEntry
from mmkd.validation import parse

AVERAGED = (1, 2, -1)  # the first two layers' states and the last one's; 0 would be the embeddings


@dataclass(frozen=True)
class GreySquare:
    """In grey, centred on a black square of the longer side or `side`, whichever is more, then `side` x `side`, RGB.

    What is left over by an odd difference goes to the right and the bottom, as in MedCLIP's package.
    """

    side: int

    def __call__(self, image: Image.Image) -> Image.Image:
        full = max(self.side, *image.size)
        square = Image.new("L", (full, full), 0)
        square.paste(image.convert("L"), ((full - image.width) // 2, (full - image.height) // 2))
        if full != self.side:
            square = square.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return Image.merge("RGB", (square, square, square))


class Swin(Settings):
    """Sizes of a Swin transformer, in transformers' words."""

    patch_size: PositiveInt
    embed_dim: PositiveInt
    depths: list[PositiveInt]
    num_heads: list[PositiveInt]
    window_size: PositiveInt


class MedClipConfig(Settings):
    """The entry's `config`. tower: of images. resnet: blocks in each stage. cls_id: of [CLS] in the vocabulary."""

    tower: Literal["swin", "resnet"]
    swin: Swin
    resnet: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    cls_id: int


class ProjectedTower(nn.Module):
    """A network of transformers and a projection of what it gives."""

    def __init__(self, model: Any, dim: int) -> None:
        super().__init__()
        self.model = model
        self.projection_head = nn.Linear(model.config.hidden_size, dim, bias=False)


class SwinTower(ProjectedTower):
    """The mean of the last layer's normalised patches, projected."""

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.projection_head(self.model(pixel_values=image_BCHW).pooler_output))


class ResNetTower(nn.Module):
    """torchvision's ResNet, whose last layer is the projection."""

    def __init__(self, model: Any, dim: int) -> None:
        super().__init__()
        self.model = model
        self.model.fc = nn.Linear(model.fc.in_features, dim, bias=False)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.model(image_BCHW))


class BertTower(ProjectedTower):
    """The mean over three layers' states and over all positions, projected."""

    def forward(self, ids_BL: Tensor) -> Tensor:
        states = self.model(input_ids=ids_BL, output_hidden_states=True).hidden_states
        state_BW = torch.stack([states[layer] for layer in AVERAGED]).mean(dim=(0, 2))
        return cast(Tensor, self.projection_head(state_BW))


class MedClip(nn.Module):
    """Both towers and the temperature under their published names."""

    def __init__(self, vision_model: nn.Module, text_model: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.text_model = vision_model, text_model
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, image_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.vision_model(image_BCHW))

    def encode_text(self, ids_BL: Tensor) -> Tensor:
        """(B, D) of captions that are all L tokens long."""
        return cast(Tensor, self.text_model(ids_BL))


def config(entry: ZooEntry) -> MedClipConfig:
    """Raises ConfigError when something is missing, unknown, or would pad captions."""
    if entry.padding != "none":
        raise ConfigError(f"zoo entry {entry.name}: padding is {entry.padding!r}; MedCLIP averages over it: set 'none'")
    return parse(MedClipConfig, entry.config, f"zoo entry {entry.name}")


def build(entry: ZooEntry) -> nn.Module:
    """The network with random weights; image size from the entry's `preprocess`, BERT from its `bert`."""
    from torchvision.models.resnet import Bottleneck, ResNet
    from transformers import BertConfig, BertModel, SwinConfig, SwinModel

    wanted, dim = config(entry), int(entry.dim or 0)
    if wanted.tower == "swin":
        swin = SwinConfig(image_size=_side(entry), **wanted.swin.model_dump())
        tower: nn.Module = SwinTower(SwinModel(swin), dim)
    else:
        tower = ResNetTower(ResNet(Bottleneck, list(wanted.resnet)), dim)
    return MedClip(tower, BertTower(BertModel(BertConfig(**entry.bert)), dim))


def _side(entry: ZooEntry) -> int:
    return int(entry.preprocess["size"][0])


def tokenizer(entry: ZooEntry, folder: Path | None) -> CaptionTokenizer:
    """Bio_ClinicalBERT's: its vocabulary knows capitals, but MedCLIP was trained on what its default makes lower."""
    return wordpiece_tokenizer(entry, folder, config(entry).cls_id)


def transform(entry: ZooEntry) -> ImageTransform:
    """The grey square, normalised as the entry's `preprocess` says."""
    return ImageTransform(GreySquare(_side(entry)), tuple(entry.preprocess["mean"]), tuple(entry.preprocess["std"]))


ADAPTER = ZooAdapter(build=build, tokenizer=tokenizer, transform=transform)
