"""What an adapter gives for the teachers of the zoo."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mmkd.images.transform import ImageTransform, from_preprocess
from mmkd.teachers.encoders.tokens import CaptionTokenizer
from mmkd.teachers.files.checkpoint import StateDict, read_state_dict
from mmkd.teachers.zoo.entry import ZooEntry


def read_one(entry: ZooEntry, paths: Sequence[Path]) -> StateDict:
    """The state dict of the only file of a teacher."""
    return read_state_dict(paths[0])


def preprocessing(entry: ZooEntry) -> ImageTransform:
    """The entry's `preprocess`, as open_clip does it."""
    return from_preprocess(entry.preprocess)


def nothing_to_check(entry: ZooEntry, folder: Path) -> None:
    """For adapters whose files come without a config."""


@dataclass(frozen=True)
class ZooAdapter:
    """A library's way with an entry of the zoo.

    build: the network, with random weights. read: the state dict in the published files, before its layout is
    converted. image, text: (B, C, H, W), or token ids (B, L) and lengths (B,), to vectors (B, D), not normalised.
    tokenizer: from the folder of its files (None for CLIP's own). check: raises ModelError when a config that lies
    beside the weights contradicts the entry.
    """

    build: Callable[[ZooEntry], nn.Module]
    image: Callable[[nn.Module, Tensor], Tensor]
    text: Callable[[nn.Module, Tensor, Tensor], Tensor]
    tokenizer: Callable[[ZooEntry, Path | None], CaptionTokenizer]
    read: Callable[[ZooEntry, Sequence[Path]], StateDict] = read_one
    transform: Callable[[ZooEntry], ImageTransform] = preprocessing
    check: Callable[[ZooEntry, Path], None] = nothing_to_check
