"""Decoding for several teachers at once: an image is read once, and each distinct transform sees it once."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from mmkd.corpus.images import plain
from mmkd.corpus.schema import Corpus

Transform = Callable[[Image.Image], torch.Tensor]


class Views:
    """The distinct transforms among those of several teachers; `of[k]` is the view that teacher k wants.

    Transforms are equal when they print alike, which torchvision's and transformers' do with all their parameters.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        printed = [repr(transform) for transform in transforms]
        distinct = list(dict.fromkeys(printed))
        self.of = [distinct.index(text) for text in printed]
        self.transforms = [transforms[printed.index(text)] for text in distinct]


@dataclass
class DecodedBatch:
    """views: per distinct transform (B, C, H, W). decoded_B: False where black stands in for an unreadable image."""

    views: list[torch.Tensor]
    captions: list[str]
    decoded_B: torch.Tensor


class DecodedBatches(Dataset[DecodedBatch]):
    """Batches of corpus rows, decoded; made for worker processes, so an item is a whole batch."""

    def __init__(self, corpus: Corpus, batches: Sequence[np.ndarray], views: Views) -> None:
        self.corpus, self.batches, self.views = corpus, batches, views

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> DecodedBatch:
        table = self.corpus.take(self.batches[index])
        encoded = table.column("image").combine_chunks().field("bytes").to_pylist()
        images = [decode(data) for data in encoded]
        shown = [image or Image.new("RGB", (32, 32)) for image in images]
        stacked = [torch.stack([transform(image) for image in shown]) for transform in self.views.transforms]
        decoded_B = torch.tensor([image is not None for image in images])
        return DecodedBatch(stacked, table.column("caption").to_pylist(), decoded_B)


def decode(data: bytes) -> Image.Image | None:
    """An encoded image as 8-bit RGB, or None when it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return plain(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
