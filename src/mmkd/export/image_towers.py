"""Image towers of open_clip as towers of transformers: config, weights under its names, projection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from open_clip.timm_model import TimmModel
from open_clip.transformer import LayerNorm, VisionTransformer
from torch import Tensor, nn

from mmkd.export.blocks import activation_of, blocks


@dataclass(frozen=True)
class ImageTower:
    """kind: `clip` for CLIP's ViT, `timm` for a network of timm. projection: (D, width)."""

    kind: Literal["clip", "timm"]
    config: Any
    tensors: dict[str, Tensor]
    projection: Tensor


def of_vision_transformer(visual: VisionTransformer) -> ImageTower:
    """Raises ValueError with the first thing about it that CLIP's ViT in transformers does not do."""
    from transformers import CLIPVisionConfig

    _check_plain(visual)
    first = visual.transformer.resblocks[0]
    config = CLIPVisionConfig(
        hidden_size=visual.conv1.out_channels,
        intermediate_size=first.mlp.c_fc.out_features,
        num_hidden_layers=len(visual.transformer.resblocks),
        num_attention_heads=first.attn.num_heads,
        image_size=visual.image_size[0],
        patch_size=visual.patch_size[0],
        hidden_act=activation_of(first),
        layer_norm_eps=first.ln_1.eps,
    )
    tensors = {
        "embeddings.class_embedding": visual.class_embedding,
        "embeddings.patch_embedding.weight": visual.conv1.weight,
        "embeddings.position_embedding.weight": visual.positional_embedding,
        **blocks(visual.transformer, "encoder.layers"),
    }
    for theirs, ours in (("pre_layrnorm", visual.ln_pre), ("post_layernorm", visual.ln_post)):
        tensors |= {f"{theirs}.{name}": value for name, value in ours.state_dict().items()}
    return ImageTower("clip", config, tensors, visual.proj.T)


def _check_plain(visual: VisionTransformer) -> None:
    height, width = visual.image_size
    wrong = {
        "attentional pooling": visual.attn_pool is not None,
        f"pooling {visual.pool_type!r}": visual.pool_type != "tok",
        "no normalisation before its blocks": not isinstance(visual.ln_pre, LayerNorm | nn.LayerNorm),
        "oblong pictures or patches": height != width or visual.patch_size[0] != visual.patch_size[1],
        "no projection": visual.proj is None,
    }
    if found := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise ValueError(f"its image tower has {', '.join(found)}, which CLIP's ViT in transformers has not")


def of_timm(visual: TimmModel, config: Mapping[str, Any]) -> ImageTower:
    """Raises ValueError for a head that is more than a projection."""
    from transformers import TimmWrapperConfig

    name, parts = str(config["timm_model_name"]), dict(visual.head.named_children())
    projection = parts.get("proj")
    if not isinstance(projection, nn.Linear) or projection.bias is not None or set(parts) - {"drop", "proj"}:
        raise ValueError(f"its image tower {name} ends in more than a projection, and transformers has that only")
    pool = config.get("timm_pool", "avg")
    described = TimmWrapperConfig(
        architecture=name, model_args={"global_pool": pool} if pool else {}, hidden_size=projection.in_features
    )
    tensors = {f"timm_model.{key}": value for key, value in visual.trunk.state_dict().items()}
    return ImageTower("timm", described, tensors, projection.weight)
