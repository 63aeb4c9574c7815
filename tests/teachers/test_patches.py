"""Patches of each kind of tower: the averages of what hooks find inside it, and the same vectors as without them.

Letters: B pictures, E width of a map, L tokens, P patches on the grid.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_teacher import Widths, made
from tiny_zoo import tiny_entry
from torch import Tensor, nn

from mmkd.errors import ModelError
from mmkd.teachers.adapters import medclip, open_clip, transformers
from mmkd.teachers.encoders.patches import map_of_tokens, patches_of_network, patches_of_tower, pooled
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.files.open_clip_folder import build_network
from mmkd.teachers.load import wired
from tiny import tiny_config
from tolerance import assert_rounding

CPU = torch.device("cpu")
VIT = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4}
ATTENTION = {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 3}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
Inside = Callable[[Any], nn.Module]


def averages(map_BEHW: Tensor, grid: int) -> Tensor:
    """The oracle: every place repeated `grid` times each way, so that cells are whole numbers of places."""
    fine = map_BEHW.repeat_interleave(grid, dim=2).repeat_interleave(grid, dim=3)
    cell_BEgg = F.avg_pool2d(fine, (map_BEHW.shape[2], map_BEHW.shape[3]))
    return F.normalize(cell_BEgg.flatten(2).transpose(1, 2), dim=-1)


@pytest.mark.parametrize(
    ("height", "width", "grid"), [(4, 4, 2), (3, 3, 2), (7, 7, 4), (5, 8, 3), (2, 2, 2), (6, 4, 1)]
)
def test_cells_are_equal_parts_of_the_picture(height: int, width: int, grid: int) -> None:
    map_BEHW = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0))
    assert_rounding(pooled(map_BEHW, grid), averages(map_BEHW, grid), roundings=16, size=1.0)


def test_a_cell_by_hand() -> None:
    """Three places in two cells: the middle one is half of each."""
    map_1213 = torch.tensor([[[3.0, 6.0, 0.0]] * 3, [[4.0, 0.0, 2.0]] * 3])[None]
    left, right = torch.tensor([3 + 3.0, 4 + 0.0]), torch.tensor([3 + 0.0, 0 + 2.0])
    wanted = torch.stack([F.normalize(left, dim=0), F.normalize(right, dim=0)] * 2)
    assert_rounding(pooled(map_1213, 2)[0], wanted, roundings=8, size=1.0)


def test_a_cell_without_content_is_zero_and_has_no_gradient() -> None:
    map_BEHW = torch.zeros(1, 3, 2, 2)
    map_BEHW[:, :, 0, 0] = 1.0
    leaf = map_BEHW.requires_grad_()
    found = pooled(torch.relu(leaf), 2)
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found[0, 1:].abs().max() == 0.0
    assert leaf.grad is not None
    assert leaf.grad[:, :, 1].abs().max() == 0.0
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize(
    ("tokens", "height", "width", "shape"),
    [
        (16, 32, 32, (4, 4)),
        (17, 32, 32, (4, 4)),
        (6, 32, 48, (2, 3)),
        (7, 48, 32, (3, 2)),
        (1, 9, 9, (1, 1)),
    ],
)
def test_tokens_become_a_map_in_the_order_of_rows(tokens: int, height: int, width: int, shape: tuple[int, int]) -> None:
    token_BLE = torch.arange(float(tokens))[None, :, None].expand(2, tokens, 3)
    found = map_of_tokens(token_BLE, height, width)
    assert found.shape == (2, 3, *shape)
    first = tokens - shape[0] * shape[1]
    assert found[1, 2].flatten().tolist() == list(map(float, range(first, tokens)))


@pytest.mark.parametrize("tokens", [3, 15, 18])
def test_tokens_that_are_no_map_are_refused(tokens: int) -> None:
    with pytest.raises(ModelError, match=rf"found {tokens} tokens for a picture of 32 x 32"):
        map_of_tokens(torch.zeros(1, tokens, 2), 32, 32)


TOWERS: dict[str, tuple[dict[str, Any], int, Inside]] = {
    "open_clip's ViT": (VIT, 4, lambda visual: visual.ln_post),
    "its norm after pooling": (
        {**VIT, "final_ln_after_pool": True, "pool_type": "avg"}, 3, lambda visual: visual.transformer
    ),
    "its attention pooling": ({**VIT, **ATTENTION}, 4, lambda visual: visual.transformer),
    "a ResNet": ({"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": 64}, 2, lambda v: v.layer4),
    "a small map of a ResNet": (
        {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": 32}, 4, lambda v: v.layer2
    ),
    "timm's ViT": ({"timm_model_name": "test_vit", "image_size": 160, "timm_pool": ""}, 4, lambda v: v.trunk.norm),
    "timm's convolutions": ({"timm_model_name": "test_byobnet", "image_size": 64}, 2, lambda v: v.trunk.final_conv),
    "their earlier map": ({"timm_model_name": "test_byobnet", "image_size": 32}, 4, lambda v: v.trunk.stages[1]),
    "others of timm": ({"timm_model_name": "test_efficientnet", "image_size": 32}, 4, lambda v: v.trunk.blocks[2]),
}  # fmt: skip


def seen_inside(module: nn.Module, forward: Callable[[], object]) -> Tensor:
    """What the module puts out while this runs."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    forward()
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_towers_of_open_clip_give_what_their_pooling_sees(name: str) -> None:
    vision, grid, inside = TOWERS[name]
    torch.manual_seed(1)
    network = build_network({**tiny_config(), "vision_cfg": vision}).eval()
    side = network.visual.image_size
    side = side if isinstance(side, int) else side[0]
    image_BCHW = torch.randn(3, 3, side, side)
    vector_BD, patch_BPE = patches_of_network(network, grid)(image_BCHW)
    assert torch.equal(vector_BD, network.encode_image(image_BCHW))
    found = seen_inside(inside(network.visual), lambda: network.encode_image(image_BCHW))
    if found.ndim == 3:
        found = found[:, 1:].transpose(1, 2).unflatten(2, (int((found.shape[1] - 1) ** 0.5), -1))  # type: ignore[no-untyped-call]
    assert min(found.shape[2:]) >= grid
    assert patch_BPE.shape == (3, grid**2, found.shape[1])
    assert_rounding(patch_BPE, averages(found, grid), roundings=64, size=1.0)
    assert not network.training


@torch.no_grad()
def test_averages_are_float32_whatever_the_tower_computes_in() -> None:
    network = build_network({**tiny_config(), "vision_cfg": VIT}).eval()
    image_BCHW = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vector_BD, patch_BPE = patches_of_network(network, 4)(image_BCHW)
        found = seen_inside(network.visual.ln_post, lambda: network.encode_image(image_BCHW))
    assert (vector_BD.dtype, patch_BPE.dtype) == (torch.bfloat16, torch.float32)
    map_BEHW = found[:, 1:].float().transpose(1, 2).reshape(2, 32, 8, 8)
    assert_rounding(patch_BPE, averages(map_BEHW, 4), roundings=64, size=1.0)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_towers_of_transformers_leave_the_class_token_out(kind: str) -> None:
    torch.manual_seed(1)
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    text = {**SMALL, "vocab_size": 64, "max_position_embeddings": 8, "projection_dim": 32}
    config = {"model_type": kind, "vision_config": vision, "text_config": text, "projection_dim": 32}
    network: Any = transformers.build(tiny_entry(adapter="transformers", config=config)).eval()
    image_BCHW = torch.randn(3, 3, 32, 32)
    vector_BD, patch_BPE = transformers.patches(network, 4)(image_BCHW)
    assert torch.equal(vector_BD, transformers.encode_image(network, image_BCHW))
    inside = network.vision_model.encoder.layers[-1] if kind == "clip" else network.vision_model.post_layernorm
    token_BLE = seen_inside(inside, lambda: transformers.encode_image(network, image_BCHW))
    token_BLE = token_BLE[0] if isinstance(token_BLE, tuple) else token_BLE
    map_BEHW = token_BLE[:, kind == "clip" :].transpose(1, 2).reshape(3, 32, 4, 4)
    assert_rounding(patch_BPE, averages(map_BEHW, 4), roundings=64, size=1.0)
    with pytest.raises(ModelError, match=r"the map is 4 x 4, smaller than the grid of 5 x 5; set \[extract\] patches"):
        transformers.patches(network, 5)(image_BCHW)


def test_towers_without_a_map_say_so() -> None:
    small = build_network(tiny_config())
    with pytest.raises(ModelError, match="the map is 2 x 2, smaller than the grid of 3 x 3"):
        patches_of_tower(small.visual, 3)
    with pytest.raises(ModelError, match="kind Linear gives no map"):
        patches_of_tower(nn.Linear(2, 2), 2)
    with pytest.raises(ModelError, match="reads no patches of models of this kind"):
        medclip.ADAPTER.patches(small, 2)
    with pytest.raises(ModelError, match="reads no patches of models of this kind"):
        made(Widths(5)).patch_width(2)


def test_a_tower_that_is_trained_stays_as_it_is() -> None:
    network = build_network({**tiny_config(), "vision_cfg": TOWERS["timm's convolutions"][0]}).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    patches_of_tower(network.visual, 2)
    assert network.visual.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_teacher_gives_both_from_its_own_pixels() -> None:
    entry = tiny_entry()
    network = open_clip.build(entry)
    teacher = Teacher("tiny", "MIT", wired(entry, network, open_clip.tokenizer(entry, None)), CPU)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    vector_BD, patch_BPE = teacher.embed_patches(pixels, 2)
    assert torch.equal(vector_BD, teacher.embed_images(pixels))
    assert patch_BPE.shape == (3, 4, teacher.patch_width(2)) == (3, 4, 32)
    assert_rounding(patch_BPE.norm(dim=2), 1.0, roundings=8)
