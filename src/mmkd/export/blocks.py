"""Blocks of open_clip's transformers under the names that CLIP has in transformers."""

from typing import Any

from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

NAMES = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
GELU = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}


def activation_of(block: Any) -> str:
    """The name that transformers has for it. Raises ValueError for another."""
    found = block.mlp.gelu
    if isinstance(found, QuickGELU):
        return "quick_gelu"
    if type(found) is nn.GELU:
        return GELU[found.approximate]
    raise ValueError(
        f"its blocks have the activation {type(found).__name__}, transformers' CLIP has GELU and QuickGELU"
    )


def blocks(transformer: Any, prefix: str) -> dict[str, Tensor]:
    """Raises ValueError for blocks of another kind, or with layer scale."""
    tensors: dict[str, Tensor] = {}
    for number, block in enumerate(transformer.resblocks):
        is_plain = type(block) is ResidualAttentionBlock and type(block.attn) is nn.MultiheadAttention
        if not is_plain or not (isinstance(block.ls_1, nn.Identity) and isinstance(block.ls_2, nn.Identity)):
            raise ValueError("its blocks are not CLIP's own (block_type, layer scale or norms of queries and keys)")
        tensors |= {f"{prefix}.{number}.{name}": value for name, value in _block(block).items()}
    return tensors


def _block(block: Any) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for part in ("weight", "bias"):
        for name, value in zip("qkv", getattr(block.attn, f"in_proj_{part}").chunk(3), strict=True):
            found[f"self_attn.{name}_proj.{part}"] = value
        found[f"self_attn.out_proj.{part}"] = getattr(block.attn.out_proj, part)
        found |= {f"{theirs}.{part}": getattr(block.get_submodule(ours), part) for ours, theirs in NAMES.items()}
    return found
