"""What a teacher is: the one small class that every library is adapted to. The student, once saved, is one as well."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mmkd.errors import ModelError
from mmkd.images.transform import ImageTransform
from mmkd.teachers.encoders.patches import PatchForward, no_patches
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Tokens, text_batches

PRECISIONS = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
Found = TypeVar("Found")
TEXT_BATCH = {"cpu": 64, "cuda": 512}  # captions of the full context length that go through a text tower at once


@dataclass(frozen=True)
class Towers:
    """What an adapter makes of a model: its network and the two paths through it, before normalisation.

    encode_image: (B, C, H, W) as `transform` makes it -> (B, D). encode_text: token ids (B, L) and how many of them are
    the caption's (B,) -> (B, D). weights: digest of the files, "" where unknown. revision: commit of their repository.
    patches: side of a grid -> how an image gives patches; raises ModelError where the network gives none.
    """

    network: nn.Module
    encode_image: Callable[[Tensor], Tensor]
    encode_text: Callable[[Tensor, Tensor], Tensor]
    transform: ImageTransform
    tokenizer: CaptionTokenizer
    weights: str = ""
    revision: str = ""
    patches: Callable[[int], PatchForward] = no_patches


class Teacher:
    """A frozen image-text model in evaluation mode on a device.

    dim: of its embeddings (D), which are float32, on the CPU, L2-normalised. precision: of the forward pass on a GPU.
    """

    def __init__(self, name: str, licence: str, towers: Towers, device: torch.device, precision: str = "fp32") -> None:
        self.name, self.licence, self.towers, self.device = name, licence, towers, device
        self._dtype = PRECISIONS[precision] if device.type == "cuda" else None
        towers.network.to(device).eval().requires_grad_(False)
        self.transform, self.tokenizer = towers.transform, towers.tokenizer
        self._patches: dict[int, PatchForward] = {}
        self.dim = int(self.encode_texts([""]).shape[1])

    @property
    def memory_bytes(self) -> int:
        """Of its weights on the device."""
        return sum(p.numel() * p.element_size() for p in self.towers.network.parameters())

    def encode_images(self, image_BCHW: Tensor) -> Tensor:
        """uint8 pixels, as `transform.pixels` makes them -> (B, D)."""
        return self.embed_images(image_BCHW.to(self.device, non_blocking=True)).cpu()

    def embed_images(self, image_BCHW: Tensor) -> Tensor:
        """The same for pixels on its device; the vectors stay there, so that nothing waits for a GPU."""
        pixel_BCHW = self._normalised(image_BCHW)
        return self._unit(self._run(lambda: self.towers.encode_image(pixel_BCHW)))

    def embed_patches(self, image_BCHW: Tensor, grid: int) -> tuple[Tensor, Tensor]:
        """As `embed_images`, with unit vectors of the patches on a grid from the same pass: (B, D), (B, grid^2, E).

        Raises ModelError for a teacher that gives no patches.
        """
        if grid not in self._patches:
            self._patches[grid] = self.towers.patches(grid)
        pixel_BCHW = self._normalised(image_BCHW)
        vector_BD, patch_BPE = self._run(lambda: self._patches[grid](pixel_BCHW))
        return self._unit(vector_BD), patch_BPE

    def patch_width(self, grid: int) -> int:
        """E, found with a picture without content. Raises ModelError that says why the teacher gives no patches."""
        blank = self.transform.pixels(Image.new("RGB", (32, 32)))[None].to(self.device)
        return int(self.embed_patches(blank, grid)[1].shape[2])

    def _normalised(self, image_BCHW: Tensor) -> Tensor:
        # channels last: convolutions are faster (bench/memory_format.py)
        return self.transform.normalise(image_BCHW).contiguous(memory_format=torch.channels_last)

    def encode_tokens(self, tokens: Tokens) -> Tensor:
        """Tokens of its own tokenizer -> (N, D), in batches of captions of similar length."""
        if not len(tokens):
            return torch.empty(0, self.dim)
        parts, order = [], []
        size = TEXT_BATCH[self.device.type]
        for index_B, ids_BL, length_B in text_batches(tokens, self.tokenizer.padding, size):
            forward = partial(self.towers.encode_text, ids_BL.to(self.device), length_B.to(self.device))
            parts.append(self._unit(self._run(forward)))
            order.append(index_B)
        vector_ND = torch.empty(len(tokens), parts[0].shape[1])
        vector_ND[torch.cat(order)] = torch.cat(parts).cpu()
        return vector_ND

    def encode_texts(self, captions: Sequence[str]) -> Tensor:
        """Captions, cut to the model's context length by its own tokenizer -> (N, D)."""
        return self.encode_tokens(self.tokenizer(captions))

    @torch.inference_mode()
    def _run(self, forward: Callable[[], Found]) -> Found:
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
            return forward()

    @torch.inference_mode()
    def _unit(self, vector_BD: Tensor) -> Tensor:
        if vector_BD.ndim != 2:
            raise ModelError(
                f"teacher {self.name!r}: expected one vector an item, found shape {tuple(vector_BD.shape)}"
            )
        return F.normalize(vector_BD.float(), dim=1)
