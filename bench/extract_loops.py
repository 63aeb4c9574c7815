"""Extraction as users of open_clip write it: a DataLoader loop for each model, or one for all of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmkd.corpus.schema import Corpus
from mmkd.images.decode import decode

Transform = Callable[[Image.Image], Tensor]


class Pairs(Dataset[tuple[list[Tensor], list[Tensor]]]):
    """The corpus as an open_clip user reads it: a picture in each model's transform, a caption in each tokenizer."""

    def __init__(self, corpus: Corpus, transforms: Sequence[Transform], tokenizers: Sequence[Any]) -> None:
        self.corpus, self.transforms, self.tokenizers = corpus, transforms, tokenizers

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, row: int) -> tuple[list[Tensor], list[Tensor]]:
        table = self.corpus.take([row])
        image = decode(table.column("image").combine_chunks().field("bytes")[0].as_py())
        caption = table.column("caption")[0].as_py()
        return [each(image) for each in self.transforms], [each([caption])[0] for each in self.tokenizers]


class Loaded:
    """Models as open_clip loads them, with what belongs to them."""

    def __init__(self, models: Sequence[str], device: torch.device) -> None:
        found = [open_clip.create_model_from_pretrained(model, device=device) for model in models]
        self.device = device
        self.networks: list[Any] = [network.eval() for network, _ in found]
        self.transforms: list[Any] = [transform for _, transform in found]
        self.tokenizers = [open_clip.get_tokenizer(model) for model in models]


def loop(loaded: Loaded, corpus: Corpus, batch: int, workers: int, precision: str, out: Path) -> None:
    """One pass: all models on each batch, their float16 vectors collected and saved, an array a model and side."""
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision)
    pairs = Pairs(corpus, loaded.transforms, loaded.tokenizers)
    kept: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in loaded.networks]
    with torch.inference_mode(), torch.autocast(loaded.device.type, dtype, enabled=dtype is not None):
        for images, texts in DataLoader(pairs, batch, num_workers=workers):
            for network, image, text, (image_parts, text_parts) in zip(
                loaded.networks, images, texts, kept, strict=True
            ):
                image_parts.append(network.encode_image(image.to(loaded.device), normalize=True).half().cpu())
                text_parts.append(network.encode_text(text.to(loaded.device), normalize=True).half().cpu())
    out.mkdir()
    for number, sides in enumerate(kept):
        for name, parts in zip(("image", "text"), sides, strict=True):
            np.save(out / f"{number}-{name}.npy", torch.cat(parts).numpy())
