"""MedCLIP with random weights in its published files; its vectors from torchvision's networks and a watched BERT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd.settings import overlaid
from mmkd.teachers.files.layouts import LAYOUTS
from mmkd.teachers.zoo.entry import ZooEntry, zoo_entry
from published import ids_by_hand, pictures, random_bert

DIM, SIDE, HIDDEN, WINDOW = 20, 56, 32, 7
EMBED, DEPTHS, HEADS = 24, [2, 1], [2, 4]
BLOCKS = (1, 1, 1, 1)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Chest", "chest", "radiograph", "no", "effusion", "lung", "##s"]
CAPTIONS = ["lungs no effusion", "", "Chest radiograph", "lung " * 200, "no effusion"]
SMALL: dict[str, Any] = {
    "dim": DIM,
    "config": {
        "cls_id": 2,
        "resnet": BLOCKS,
        "swin": {"embed_dim": EMBED, "depths": DEPTHS, "num_heads": HEADS},
    },
    "bert": {
        **{"vocab_size": len(WORDS), "hidden_size": HIDDEN, "intermediate_size": 48, "max_position_embeddings": 80},
        **{"num_hidden_layers": 4, "num_attention_heads": 4},
    },
    "preprocess": {"size": [SIDE, SIDE]},
}
Shapes = Iterator[tuple[str, tuple[int, ...]]]


def small(variant: str | None = None, **changes: Any) -> ZooEntry:
    """The zoo's entry with small sizes; everything else is as published."""
    data = overlaid(zoo_entry("medclip", variant).model_dump(), SMALL)
    return ZooEntry.model_validate(overlaid(data, changes))


def swin_of_transformers_4(embed: int, depths: list[int], heads: list[int], patch: int = 4) -> Shapes:
    """Names and shapes of a Swin as transformers 4 stored it, buffers included."""

    def layer(name: str, out: int, into: int | None = None) -> Shapes:
        yield f"{name}.weight", (out,) if into is None else (out, into)
        yield f"{name}.bias", (out,)

    yield "embeddings.patch_embeddings.projection.weight", (embed, 3, patch, patch)
    yield "embeddings.patch_embeddings.projection.bias", (embed,)
    yield from layer("embeddings.norm", embed)
    for stage, (blocks, count) in enumerate(zip(depths, heads, strict=True)):
        width = embed * 2**stage
        for block in range(blocks):
            name = f"encoder.layers.{stage}.blocks.{block}"
            yield from layer(f"{name}.layernorm_before", width)
            yield f"{name}.attention.self.relative_position_bias_table", ((2 * WINDOW - 1) ** 2, count)
            yield f"{name}.attention.self.relative_position_index", (WINDOW**2, WINDOW**2)
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                yield from layer(f"{name}.attention.{part}", width, width)
            yield from layer(f"{name}.layernorm_after", width)
            yield from layer(f"{name}.intermediate.dense", 4 * width, width)
            yield from layer(f"{name}.output.dense", width, 4 * width)
        if stage + 1 < len(depths):
            yield f"encoder.layers.{stage}.downsample.reduction.weight", (2 * width, 4 * width)
            yield from layer(f"encoder.layers.{stage}.downsample.norm", 4 * width)
    yield from layer("layernorm", embed * 2 ** (len(depths) - 1))


def torchvisions_swin(tensors: dict[str, Tensor], projection: Tensor) -> nn.Module:
    """The same network as torchvision has it, with the projection as its head."""
    from torchvision.models.swin_transformer import SwinTransformer

    def renamed(old: str, new: str) -> dict[str, Tensor]:
        return {f"{new}.{kind}": tensors[f"{old}.{kind}"] for kind in ("weight", "bias") if f"{old}.{kind}" in tensors}

    state = renamed("embeddings.patch_embeddings.projection", "features.0.0")
    state |= renamed("embeddings.norm", "features.0.2") | renamed("layernorm", "norm") | {"head.weight": projection}
    for stage, blocks in enumerate(DEPTHS):
        for block in range(blocks):
            old, new = f"encoder.layers.{stage}.blocks.{block}", f"features.{2 * stage + 1}.{block}"
            table = "relative_position_bias_table"
            state[f"{new}.attn.{table}"] = tensors[f"{old}.attention.self.{table}"]
            for kind in ("weight", "bias"):
                three = [tensors[f"{old}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
                state[f"{new}.attn.qkv.{kind}"] = torch.cat(three)
            pairs = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.output.dense": "attn.proj"}
            for theirs, ours in {**pairs, "intermediate.dense": "mlp.0", "output.dense": "mlp.3"}.items():
                state |= renamed(f"{old}.{theirs}", f"{new}.{ours}")
        for part in ("reduction", "norm"):
            state |= renamed(f"encoder.layers.{stage}.downsample.{part}", f"features.{2 * stage + 2}.{part}")
    network = SwinTransformer([4, 4], EMBED, DEPTHS, HEADS, [WINDOW, WINDOW], stochastic_depth_prob=0.0)
    network.head = nn.Linear(projection.shape[1], DIM, bias=False)
    kept = {key: value for key, value in network.state_dict().items() if key.endswith("relative_position_index")}
    network.load_state_dict({**kept, **state}, strict=True)
    return network.eval()


class Published:
    """Both variants' files, flat and in old names, in two folders; in a third, the names of transformers 5."""

    def __init__(self, folder: Path) -> None:
        from torchvision.models.resnet import Bottleneck, ResNet

        generator = torch.Generator().manual_seed(1)
        self.swin: dict[str, Tensor] = {}
        for key, shape in swin_of_transformers_4(EMBED, DEPTHS, HEADS):
            value = torch.randn(shape, generator=generator) * 0.3
            self.swin[key] = torch.zeros(shape, dtype=torch.long) if key.endswith("position_index") else value
        torch.manual_seed(2)
        self.resnet = ResNet(Bottleneck, list(BLOCKS))
        self.resnet.fc = nn.Linear(2048, DIM, bias=False)
        for name, buffer in self.resnet.named_buffers():
            buffer.fill_(3) if name.endswith("tracked") else buffer.uniform_(0.5, 1.5)
        self.bert = random_bert(SMALL["bert"])
        self.projection = torch.randn(DIM, HIDDEN, generator=generator)
        self.image_projection = torch.randn(DIM, EMBED * 2, generator=generator)
        text = {f"text_model.model.{key}": value for key, value in self.bert.state_dict().items()}
        text["text_model.model.embeddings.position_ids"] = torch.arange(80)[None]
        text |= {"text_model.projection_head.weight": self.projection, "logit_scale": torch.tensor(4.6)}
        images = {f"vision_model.model.{key}": value for key, value in self.swin.items()}
        self.state = images | {"vision_model.projection_head.weight": self.image_projection} | text
        resnet = {f"vision_model.model.{key}": value for key, value in self.resnet.state_dict().items()}
        self.folders = {name: folder / name for name in ("swin", "resnet50", "new")}
        states = (self.state, resnet | text, LAYOUTS["medclip"](self.state))
        for place, state in zip(self.folders.values(), states, strict=True):
            write(place, state)


def write(folder: Path, state: dict[str, Tensor]) -> None:
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")


def normalised() -> Tensor:
    return (pictures(SIDE).float() / 255 - 0.5862785803043838) / 0.27950088968644304


def ids_of(caption: str) -> Tensor:
    """(1, L), by hand."""
    return torch.tensor([ids_by_hand(caption, WORDS)])


def expected_text(model: Published, ids_BL: Tensor, mask_BL: Tensor | None = None) -> Tensor:
    """What comes out of the first, the second and the last layer, averaged over layers and positions, projected."""
    states: list[Tensor] = []
    layers = model.bert.encoder.layer
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: states.append(out[0] if isinstance(out, tuple) else out))
        for layer in (layers[0], layers[1], layers[-1])
    ]
    with torch.inference_mode():
        model.bert(input_ids=ids_BL, attention_mask=mask_BL)
    for hook in hooks:
        hook.remove()
    assert len(states) == 3
    mean_BW = sum(state.sum(dim=1) for state in states) / (3 * ids_BL.shape[1])
    return F.normalize(mean_BW @ model.projection.T, dim=1)
