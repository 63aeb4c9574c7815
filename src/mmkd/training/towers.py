"""The student's towers on a batch, the text tower in groups of captions of similar length.

Every caption is in the batch that its step has, only the padding is cut: sorted by length inside the batch, a group is
padded to its own longest, and the vectors are put back in order. Where a tower sees padding, it gets all of it.
Letters: B pairs, L tokens (the context), D student dimension.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn

from mmkd.errors import ConfigError
from mmkd.teachers.adapters.open_clip import encode_text, padding_of
from mmkd.teachers.encoders.patches import TowerPatches

STEP = 8  # widths of groups are multiples: matrix units and attention kernels like them
COMPILED_STEP = 32  # coarser, because each width is compiled by itself
SHAPES = 64  # compilations of a tower at most: 8 widths of 256 tokens, two sizes of groups, training and validation
PLAIN_MASK = ("bert", "roberta", "xlm-roberta")  # their attention takes a ready mask as it is


class StudentTowers(nn.Module):
    """Both towers and exp(logit_scale), as one module, which DDP and FSDP2 want.

    buckets: groups of captions. patches: how the image tower gives patches, where a term asks for them.
    """

    def __init__(self, network: nn.Module, buckets: int, step: int = STEP, patches: TowerPatches | None = None) -> None:
        super().__init__()
        self.network, self.buckets, self.step, self.patches = network, buckets, step, patches

    def forward(
        self, image_BCHW: Tensor, token_BL: Tensor, length_B: np.ndarray
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Unit vectors of images and captions (B, D), the scale, and unit vectors of patches (B, P, E) or None.

        length_B: tokens of each caption, on the host. Patches are given in training only.
        """
        scale: Any = self.network.logit_scale
        if self.patches is None or not self.network.training:
            image_BD, text_BD = embed(self.network, image_BCHW, token_BL, length_B, self.buckets, self.step)
            return image_BD, text_BD, scale.exp(), None
        image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
        vector_BD, patch_BPE = self.patches(self.network.visual, image_BCHW)
        text_BD = embed_texts(self.network, token_BL, length_B, self.buckets, self.step)
        return F.normalize(vector_BD, dim=-1), text_BD, scale.exp(), patch_BPE

    def groups(self, length_B: np.ndarray, context: int) -> list[tuple[np.ndarray, int]]:
        """How the text tower sees captions of these lengths: see `text_groups`."""
        return _groups(self.network, length_B, context, self.buckets, self.step)


def embed(
    network: nn.Module, image_BCHW: Tensor, token_BL: Tensor, length_B: np.ndarray, buckets: int = 1, step: int = STEP
) -> tuple[Tensor, Tensor]:
    """Unit vectors of images and captions, (B, D) each.

    The vectors are those of an uncut batch, to rounding; with dropout they draw other random numbers.
    """
    # with channels last, most convolutional towers take two thirds of the time on a CPU (bench/memory_format.py)
    image_BCHW = image_BCHW.contiguous(memory_format=torch.channels_last)
    image_BD = F.normalize(network.encode_image(image_BCHW), dim=-1)  # type: ignore[operator]
    return image_BD, embed_texts(network, token_BL, length_B, buckets, step)


def embed_texts(network: nn.Module, token_BL: Tensor, length_B: np.ndarray, buckets: int, step: int = STEP) -> Tensor:
    """Unit vectors of captions (B, D), in groups of similar length."""
    groups = _groups(network, length_B, token_BL.shape[1], buckets, step)
    if len(groups) == 1:
        width = groups[0][1]
        return F.normalize(_text(network, token_BL[:, :width], bool(length_B.min() >= width)), dim=-1)
    parts = []
    for index_G, width in groups:
        token_GL = token_BL[_moved(index_G, token_BL), :width]
        parts.append(_text(network, token_GL, bool(length_B[index_G].min() >= width)))
    back_B = np.argsort(np.concatenate([index for index, _ in groups]))
    return F.normalize(torch.cat(parts)[_moved(back_B, token_BL)], dim=-1)


def text_groups(length_B: np.ndarray, context: int, buckets: int, step: int = STEP) -> list[tuple[np.ndarray, int]]:
    """Which rows make up each group, shortest first, and its width: its longest, up to a multiple of `step`, (rows, L).

    The groups are equally large or differ by one row.
    """
    order_B = np.argsort(length_B, kind="stable")
    parts = np.array_split(order_B, min(buckets, len(order_B)))
    return [(part, min(context, -(-int(length_B[part[-1]]) // step) * step)) for part in parts]


def recompute_activations(network: Any) -> None:
    """Keep only the inputs of the blocks and compute the rest again in the backward pass.

    Raises ConfigError for a tower that would go on keeping everything.
    """
    network.set_grad_checkpointing(True)
    text = getattr(network, "text", None)
    if isinstance(text, HFTextEncoder):  # open_clip leaves the kind to transformers, whose default breaks under DDP
        text.transformer.gradient_checkpointing_enable({"use_reentrant": False})
    for name, tower in (("image", network.visual), ("text", (text or network).transformer)):
        # open_clip, timm and transformers have a flag each
        flags = ("grad_checkpointing", "gradient_checkpointing")
        if not any(getattr(module, flag, False) for module in tower.modules() for flag in flags):
            raise ConfigError(
                f"machine.grad_checkpointing: the student's {name} tower ({type(tower).__name__}) cannot compute its "
                "activations again; set it to false, or machine.micro_batch to a part of the batch"
            )


def compile_towers(network: Any, backend: Any = "inductor") -> None:
    """Let `torch.compile` fuse what both towers do, in place, one program a shape; backend: torch's name or its own."""
    text = getattr(network, "text", network)
    for tower in (network.visual, text.transformer):
        tower.compile(dynamic=False, recompile_limit=SHAPES, backend=backend)


def _groups(
    network: nn.Module, length_B: np.ndarray, context: int, buckets: int, step: int
) -> list[tuple[np.ndarray, int]]:
    if padding_of(network) == "full":
        return [(np.arange(len(length_B)), context)]
    return text_groups(length_B, context, buckets, step)


def _text(network: Any, token_BL: Tensor, full: bool) -> Tensor:
    """(B, D), not normalised. full: no caption has padding, as the host knows.

    A BERT gets its mask ready made: transformers would ask the device whether it needs one, and the host would wait.
    """
    text = getattr(network, "text", None)
    if not isinstance(text, HFTextEncoder) or text.config.model_type not in PLAIN_MASK:
        return encode_text(network, token_BL)
    keep_BL = token_BL != text.config.pad_token_id
    count, width = token_BL.shape
    mask = None if full else keep_BL[:, None, None, :].expand(count, 1, width, width)
    found = text.transformer(input_ids=token_BL, attention_mask=mask)
    vectors: Tensor = text.proj(text.pooler(found, keep_BL.long()))
    return vectors


def _moved(index_B: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(index_B).to(like.device, non_blocking=True)
