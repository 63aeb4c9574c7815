"""PMC-CLIP: CLIP's ResNet-50 and PubMedBERT, projected before the fusion that only its pre-training used.

Two ways to read its weights are published. Both load without a complaint, and give different vectors, so that a reading
is a variant of the entry, and no third one is built. Letters: B images or captions, L tokens, W width, D dimension.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import PositiveInt, model_validator
from torch import Tensor, nn, randn

from mmkd.errors import ConfigError, ModelError
from mmkd.settings import Settings
from mmkd.teachers.adapters.protocol import ZooAdapter, wordpiece_tokenizer
from mmkd.teachers.encoders.patches import patches_of_network
from mmkd.teachers.encoders.tokens import CaptionTokenizer
from mmkd.teachers.files.checkpoint import StateDict, read_state_dict
from mmkd.teachers.zoo.entry import ZooEntry
from mmkd.validation import parse

READINGS = {(32, "cls"), (8, "pooler")}  # heads and pooling: of the training code, and of the authors' notebook


class PmcClipConfig(Settings):
    """The entry's `config`.

    layers, width: of the ResNet. heads: of its attention pooling; no weight's shape tells how many. pooling: what is
    projected of a caption, the [CLS] token's last state or BERT's pooler. cls_id: number of [CLS] in the vocabulary.
    """

    layers: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt]
    width: PositiveInt
    heads: PositiveInt
    pooling: Literal["cls", "pooler"]
    cls_id: int

    @model_validator(mode="after")
    def _published(self) -> "PmcClipConfig":
        if (self.heads, self.pooling) not in READINGS:
            known = " or ".join(f"heads {heads} with pooling {pooling!r}" for heads, pooling in sorted(READINGS))
            raise ValueError(
                f"found heads {self.heads} with pooling {self.pooling!r}, which nobody published; expected {known}"
            )
        return self


class PmcClip(nn.Module):
    """Both towers under their published names. Only the reading `pooler` uses BERT's pooler; every file has it."""

    def __init__(self, visual: nn.Module, text_encoder: Any, dim: int, pooling: str) -> None:
        super().__init__()
        width = int(text_encoder.config.hidden_size)
        self.visual, self.text_encoder, self.pooling = visual, text_encoder, pooling
        self.text_projection = nn.Parameter(randn(width, dim) / width**0.5)

    def encode_image(self, image_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.visual(image_BCHW))

    def encode_text(self, ids_BL: Tensor) -> Tensor:
        """(B, D); without a mask: the weights were trained to see captions with their padding to 77 tokens."""
        output = self.text_encoder(input_ids=ids_BL)
        state_BW: Tensor = output.pooler_output if self.pooling == "pooler" else output.last_hidden_state[:, 0]
        return state_BW @ self.text_projection


def config(entry: ZooEntry) -> PmcClipConfig:
    """Raises ConfigError for a reading of the weights that is none of the published ones."""
    if entry.padding != "full":
        raise ConfigError(f"zoo entry {entry.name}: padding is {entry.padding!r}; PMC-CLIP attends to it: set 'full'")
    return parse(PmcClipConfig, entry.config, f"zoo entry {entry.name}")


def build(entry: ZooEntry) -> nn.Module:
    """The network with random weights; image size from the entry's `preprocess`, BERT from its `bert`."""
    from open_clip.modified_resnet import ModifiedResNet
    from transformers import BertConfig, BertModel

    wanted, dim = config(entry), int(entry.dim or 0)
    side = int(entry.preprocess["size"][0])
    visual = ModifiedResNet(list(wanted.layers), dim, wanted.heads, side, wanted.width)
    return PmcClip(visual, BertModel(BertConfig(**entry.bert)), dim, wanted.pooling)


def read(entry: ZooEntry, paths: Sequence[Path]) -> StateDict:
    """The training checkpoint, or the image encoder, text encoder and projection that were cut out of it later."""
    if len(paths) == 1:
        return read_state_dict(paths[0])
    visual, text_encoder, projection = paths
    tensors = {f"visual.{key}": value for key, value in read_state_dict(visual).items()}
    tensors |= {f"text_encoder.{key}": value for key, value in read_state_dict(text_encoder).items()}
    return {**tensors, "text_projection": _bare(projection)}


def _bare(path: Path) -> Tensor:
    """A bare tensor (W, D) goes by its file's name. A linear layer's `weight` would be its transpose: refused."""
    found = read_state_dict(path)
    if list(found) != [path.stem]:
        raise ModelError(f"{path}: expected one tensor and no more, found {', '.join(sorted(found))}; fetch it again")
    return found[path.stem]


def tokenizer(entry: ZooEntry, folder: Path | None) -> CaptionTokenizer:
    """PubMedBERT's, of lower case."""
    return wordpiece_tokenizer(entry, folder, config(entry).cls_id)


ADAPTER = ZooAdapter(build=build, patches=patches_of_network, tokenizer=tokenizer, read=read)
