"""What a teacher is: the one small class every library is adapted to."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from PIL import Image


class Teacher(Protocol):
    """A frozen image-text model in evaluation mode. The student, once saved, is one as well.

    dim: of its embeddings (D). Embeddings are float32, on the CPU, L2-normalised. transform: one RGB image ->
    float32 (C, H, W), resized, cropped and normalised as this model wants it; picklable, for worker processes.
    """

    name: str
    dim: int
    licence: str
    transform: Callable[[Image.Image], torch.Tensor]

    def encode_images(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Transformed images -> (B, D)."""
        ...

    def encode_texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Captions, cut to the model's context length by its own tokenizer -> (B, D)."""
        ...
