"""Text towers of open_clip as towers of transformers: config, weights under its names, projection."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from open_clip.hf_model import ClsLastHiddenStatePooler, ClsPooler, HFTextEncoder
from torch import Tensor, nn

from mmkd.export.blocks import activation_of, blocks
from mmkd.export.to_onnx import pooling_of

HIGHEST = 2  # the eos_token_id by which transformers takes the highest id of a text for its end, as CLIP does


@dataclass(frozen=True)
class TextTower:
    """kind: `clip` for CLIP's text transformer, `first` for a BERT pooled at its first token, `pooled` for one with a
    pooling layer. projection: (D, width)."""

    kind: Literal["clip", "first", "pooled"]
    config: Any
    tensors: dict[str, Tensor]
    projection: Tensor


def of_text_transformer(tower: Any) -> TextTower:
    """Raises ValueError with the first thing about it that CLIP's text tower in transformers does not do."""
    from transformers import CLIPTextConfig

    pool, end = pooling_of(tower)
    _check_plain(tower, pool, end)
    first, vocabulary = tower.transformer.resblocks[0], tower.token_embedding.num_embeddings
    ends = {"eos_token_id": HIGHEST if pool == "argmax" else end, "bos_token_id": None, "pad_token_id": None}
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=tower.token_embedding.embedding_dim,
        intermediate_size=first.mlp.c_fc.out_features,
        num_hidden_layers=len(tower.transformer.resblocks),
        num_attention_heads=first.attn.num_heads,
        max_position_embeddings=len(tower.positional_embedding),
        hidden_act=activation_of(first),
        layer_norm_eps=first.ln_1.eps,
        **ends,
    )
    tensors = {
        "embeddings.token_embedding.weight": tower.token_embedding.weight,
        "embeddings.position_embedding.weight": tower.positional_embedding,
        **blocks(tower.transformer, "encoder.layers"),
    }
    tensors |= {f"final_layer_norm.{name}": value for name, value in tower.ln_final.state_dict().items()}
    return TextTower("clip", config, tensors, _projection(tower.text_projection, config.hidden_size))


def _check_plain(tower: Any, pool: str, end: int) -> None:
    wrong = {
        "no causal mask": tower.attn_mask is None,
        "a class token of its own": getattr(tower, "cls_emb", None) is not None,
        f"pooling {pool!r}": pool not in ("argmax", "eos"),
        f"id {HIGHEST} as the end of a text": pool == "eos" and end == HIGHEST,
    }
    if found := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise ValueError(f"its text tower has {', '.join(found)}, which CLIP's in transformers has not")


def of_bert(tower: HFTextEncoder) -> TextTower:
    """Raises ValueError for a pooling or a projection that transformers does not have."""
    config, pooler, network = tower.config, tower.pooler, tower.transformer
    own_layer = isinstance(pooler, ClsPooler) and getattr(network, "pooler", None) is not None
    if not own_layer and not isinstance(pooler, ClsPooler | ClsLastHiddenStatePooler):
        raise ValueError(
            f"its text tower is pooled by {type(pooler).__name__}, which no such model of transformers does"
        )
    if not own_layer and config.model_type != "bert":
        raise ValueError(
            f"its text tower is a {config.model_type} pooled at the first token, transformers has BERT only"
        )
    projection = tower.proj
    if isinstance(projection, nn.Sequential):
        raise ValueError("its text tower ends in two layers (hf_proj_type 'mlp'), where transformers has a projection")
    tensors = dict(network.state_dict())
    linear = None if isinstance(projection, nn.Identity) else projection
    return TextTower(
        "pooled" if own_layer else "first",
        _bert_config(config, own_layer),
        tensors,
        _projection(linear, config.hidden_size),
    )


def _bert_config(config: Any, own_layer: bool) -> Any:
    if own_layer:
        return config
    from transformers import ChineseCLIPTextConfig

    known = ChineseCLIPTextConfig().to_dict()
    kept = {key: value for key, value in config.to_dict().items() if key in known and key != "model_type"}
    return ChineseCLIPTextConfig(**kept)


def _projection(found: Any, width: int) -> Tensor:
    if found is None:
        return torch.eye(width)
    if isinstance(found, nn.Linear):
        if found.bias is not None:
            raise ValueError("the projection of its text tower has a bias, which transformers' has not")
        return found.weight
    tensor: Tensor = found.T
    return tensor
