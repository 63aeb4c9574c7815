"""Decoding for several teachers at once: an image is read once, and each distinct geometry sees it once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from mmkd.corpus.schema import Corpus
from mmkd.images.decode import decode
from mmkd.images.transform import ImageTransform
from mmkd.reasons import BadRecordError
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Tokens

UNREADABLE = "image cannot be decoded"


class Views:
    """The distinct geometries and tokenizers among those of several teachers.

    image_of[k], text_of[k]: which of them teacher k wants. Geometries are equal when they print alike, which
    torchvision's do with all their parameters; the mean and deviation are applied later and do not count.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.image_of, images = _distinct([repr(teacher.transform.geometry) for teacher in teachers])
        self.text_of, texts = _distinct([teacher.tokenizer.key for teacher in teachers])
        self.transforms: list[ImageTransform] = [teachers[k].transform for k in images]
        self.tokenizers: list[CaptionTokenizer] = [teachers[k].tokenizer for k in texts]


def _distinct(keys: Sequence[str]) -> tuple[list[int], list[int]]:
    """Which distinct key each one is, and where each distinct key stands first."""
    distinct = list(dict.fromkeys(keys))
    return [distinct.index(key) for key in keys], [keys.index(key) for key in distinct]


@dataclass
class DecodedBatch:
    """views: per distinct geometry uint8 (B, C, H, W). tokens: per distinct tokenizer.

    reasons: why an image could not be read, None where it was; black stands in for it.
    """

    views: list[torch.Tensor]
    tokens: list[Tokens]
    reasons: list[str | None]

    def pin_memory(self) -> "DecodedBatch":
        """Called by DataLoader: page-locked images travel to a GPU while it computes."""
        return replace(self, views=[view.pin_memory() for view in self.views])


class DecodedBatches(Dataset[DecodedBatch]):
    """Batches of corpus rows, decoded; made for worker processes, so an item is a whole batch."""

    def __init__(self, corpus: Corpus, batches: Sequence[np.ndarray], views: Views) -> None:
        self.corpus, self.batches, self.views = corpus, batches, views

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> DecodedBatch:
        table = self.corpus.take(self.batches[index])
        encoded = table.column("image").combine_chunks().field("bytes").to_pylist()
        images = [_decoded(data) for data in encoded]
        shown = [image or Image.new("RGB", (32, 32)) for image in images]
        views = [torch.stack([each.pixels(image) for image in shown]) for each in self.views.transforms]
        captions = table.column("caption").to_pylist()
        tokens = [tokenizer(captions) for tokenizer in self.views.tokenizers]
        return DecodedBatch(views, tokens, [None if image else UNREADABLE for image in images])


def _decoded(data: bytes) -> Image.Image | None:
    try:
        return decode(data)
    except BadRecordError:
        return None
