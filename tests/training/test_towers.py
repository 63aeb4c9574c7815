"""Padding is cut where that changes nothing; activations are computed again where that is asked for."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from mmkd.errors import ConfigError
from mmkd.teachers.adapters.open_clip import encode_text, padding_of
from mmkd.teachers.files.open_clip_folder import architecture, build_network
from mmkd.training.towers import StudentTowers, compile_towers, embed, recompute_activations, text_groups
from tiny import tiny_config
from tolerance import assert_rounding, assert_rounding_of_all

CONTEXT, END = 24, 49  # END: the largest id, as CLIP's end of text
LENGTHS = np.array([3, 24, 9, 4, 16, 5, 8, 24, 11])
PLAIN = {"context_length": CONTEXT, "vocab_size": 50, "width": 32, "heads": 2, "layers": 2}
TOWERS: dict[str, dict[str, Any]] = {
    "clip, argmax": {"text_cfg": PLAIN},
    "clip, eos": {"text_cfg": {**PLAIN, "pool_type": "eos", "eos_id": END}},
    "custom text, argmax": {"text_cfg": PLAIN, "custom_text": True},
    "custom text, eos": {"text_cfg": {**PLAIN, "pool_type": "eos", "eos_id": END}, "custom_text": True},
    "bert, first": {"hf_pooler_type": "cls_last_hidden_state_pooler"},
    "bert, pooler": {"hf_pooler_type": "cls_pooler"},
    "bert, mean": {"hf_pooler_type": "mean_pooler", "hf_proj_type": "linear"},
}
SEES_PADDING: dict[str, dict[str, Any]] = {
    "first, not causal": {"text_cfg": {**PLAIN, "pool_type": "first", "no_causal_mask": True}, "custom_text": True},
    "last": {"text_cfg": {**PLAIN, "pool_type": "last"}, "custom_text": True},
    "siglip": {
        "text_cfg": {**PLAIN, "pool_type": "last", "no_causal_mask": True, "proj_bias": True},
        "custom_text": True,
    },
    "coca's class token": {"text_cfg": {**PLAIN, "embed_cls": True}, "custom_text": True},
}


@pytest.fixture
def network_of(tmp_path: Path) -> Any:
    """A function that makes a network of a kind: float64, and in evaluation mode, so that dropout does not draw."""

    def make(kind: dict[str, Any]) -> Any:
        if "text_cfg" not in kind:
            from transformers import BertConfig

            sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
            BertConfig(vocab_size=50, max_position_embeddings=CONTEXT, **sizes).save_pretrained(tmp_path)
            text = {"hf_model_name": str(tmp_path), "hf_tokenizer_name": str(tmp_path), "context_length": CONTEXT}
            kind = {"text_cfg": {**text, **kind}}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build_network({**tiny_config(), **kind}).eval().double()

    return make


def batch(count: int = len(LENGTHS)) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(1)
    token_BL = torch.zeros(count, CONTEXT, dtype=torch.long)
    for row, length in enumerate(LENGTHS[:count]):
        token_BL[row, :length] = torch.randint(1, END, (length,), generator=generator)
        token_BL[row, length - 1] = END
    return torch.rand(count, 3, 32, 32, generator=generator).double(), token_BL, LENGTHS[:count]


def gradients(network: nn.Module, image_BD: torch.Tensor, text_BD: torch.Tensor) -> dict[str, torch.Tensor]:
    network.zero_grad()
    generator = torch.Generator().manual_seed(2)
    weights = torch.rand(image_BD.shape, generator=generator)
    ((image_BD + text_BD) * weights).sum().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("buckets", [1, 2, 4, 20])
@pytest.mark.parametrize("kind", TOWERS)
def test_cut_captions_give_the_vectors_and_gradients_of_full_ones(kind: str, buckets: int, network_of: Any) -> None:
    network, (image, token_BL, length_B) = network_of(TOWERS[kind]), batch()
    assert padding_of(network) == "longest"
    full = network.encode_image(image, normalize=True), network.encode_text(token_BL, normalize=True)
    expected = gradients(network, *full)
    cut = embed(network, image, token_BL, length_B, buckets)
    for found, wanted in zip(cut, full, strict=True):
        assert_rounding(found, wanted)
    assert_rounding_of_all(gradients(network, *cut), expected)


@pytest.mark.parametrize("kind", TOWERS)
def test_the_text_tower_really_sees_short_captions(kind: str, network_of: Any) -> None:
    network, widths = network_of(TOWERS[kind]), []
    tower = getattr(network, "text", network).transformer
    tower.register_forward_pre_hook(
        lambda _, args, given: widths.append((args[0] if args else given["input_ids"]).shape[1]), with_kwargs=True
    )
    embed(network, *batch(), buckets=3)
    assert widths == [8, 16, 24]


@pytest.mark.parametrize("kind", SEES_PADDING)
def test_towers_that_see_padding_get_all_of_it(kind: str, network_of: Any) -> None:
    network, (image, token_BL, length_B) = network_of(SEES_PADDING[kind]), batch()
    assert padding_of(network) == "full"
    _, text_BD = embed(network, image, token_BL, length_B, 4)
    assert_rounding(text_BD, network.encode_text(token_BL, normalize=True))


def test_a_tower_that_sees_padding_would_give_something_else_without(network_of: Any) -> None:
    network, (_, token_BL, _) = network_of(SEES_PADDING["siglip"]), batch()
    short, full = encode_text(network, token_BL[:1, :8]), network.encode_text(token_BL[:1])
    assert (short - full).abs().max() > 1e-3


@given(st.lists(st.integers(1, 256), min_size=1, max_size=60), st.integers(1, 9), st.sampled_from([8, 32]))
def test_groups_hold_every_row_once_and_are_as_narrow_as_they_may(lengths: list[int], buckets: int, step: int) -> None:
    length_B = np.array(lengths)
    groups = text_groups(length_B, 256, buckets, step)
    assert sorted(np.concatenate([index for index, _ in groups]).tolist()) == list(range(len(lengths)))
    assert len(groups) == min(buckets, len(lengths))
    assert max(len(index) for index, _ in groups) - min(len(index) for index, _ in groups) <= 1
    for index, width in groups:
        assert width % step == 0
        assert width - step < length_B[index].max() <= width
    assert [width for _, width in groups] == sorted(width for _, width in groups)


def test_groups_never_pass_the_context() -> None:
    assert text_groups(np.array([75, 77]), 77, 1)[0][1] == 77


def counted(into: list[int], tensor: torch.Tensor) -> torch.Tensor:
    into.append(tensor.numel())
    return tensor


@pytest.mark.parametrize("kind", ["clip, argmax", "custom text, eos", "bert, first"])
def test_recomputing_keeps_less_and_gives_the_same_gradients(kind: str, network_of: Any) -> None:
    network, inputs = network_of(TOWERS[kind]).train(), batch()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_prob"):
            module.dropout_prob = 0.0
    kept, found = [], []
    for again in (False, True):
        if again:
            recompute_activations(network)
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(counted, saved), lambda tensor: tensor):
            sides = embed(network, *inputs, buckets=2)
        kept.append(sum(saved))
        found.append(gradients(network, *sides))
    assert kept[1] < 0.6 * kept[0]
    assert_rounding_of_all(found[1], found[0])


@pytest.mark.parametrize("side", ["image", "text"])
@pytest.mark.parametrize("kind", ["clip, argmax", "bert, first"])
def test_recomputing_runs_the_blocks_of_each_tower_twice(kind: str, side: str, network_of: Any) -> None:
    network = network_of(TOWERS[kind]).train()
    recompute_activations(network)
    tower = network.visual.transformer if side == "image" else getattr(network, "text", network).transformer
    blocks = tower.encoder.layer if hasattr(tower, "encoder") else tower.resblocks
    calls: list[int] = []
    next(blocks[0].children()).register_forward_pre_hook(lambda *_: calls.append(1))
    image_BD, text_BD = embed(network, *batch(), buckets=1)
    assert len(calls) == 1
    (image_BD.sum() + text_BD.sum()).backward()  # type: ignore[no-untyped-call]
    assert len(calls) == 2


def test_a_tower_that_cannot_recompute_is_refused() -> None:
    config = architecture("RN50")
    config["vision_cfg"] |= {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}
    config["text_cfg"] |= PLAIN
    with pytest.raises(ConfigError, match=r"image tower .ModifiedResNet. cannot compute its activations again"):
        recompute_activations(build_network({**config, "embed_dim": 16}))


def test_both_towers_attend_with_torchs_fused_attention(network_of: Any) -> None:
    for kind in ("bert, first", "clip, argmax"):
        network = network_of(TOWERS[kind]).train()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            embed(network, *batch(), buckets=1)
        names = [event.name for event in profile.events()]
        layers = 1 + 2  # of the image tower and of the text tower
        assert names.count("aten::scaled_dot_product_attention") == layers


def test_the_module_gives_the_scale_and_its_groups(network_of: Any) -> None:
    network = network_of(TOWERS["clip, argmax"])
    towers = StudentTowers(network, 2)
    image_BD, text_BD, scale, patch_BPE = towers(*batch())
    assert patch_BPE is None
    assert image_BD.shape == text_BD.shape == (len(LENGTHS), 16)
    torch.testing.assert_close(scale, network.logit_scale.exp())
    assert [width for _, width in towers.groups(LENGTHS, CONTEXT)] == [16, 24]
    assert {id(p) for p in towers.parameters()} == {id(p) for p in network.parameters()}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # of dynamo itself
@pytest.mark.parametrize("kind", ["clip, argmax", "bert, first"])
def test_compiled_towers_give_the_same_from_one_program_a_width(kind: str, network_of: Any) -> None:
    network, (image, token_BL, length_B) = network_of(TOWERS[kind]), batch(8)
    expected = embed(network, image, token_BL, length_B, buckets=2)
    reference = gradients(network, *expected)
    torch.compiler.reset()
    counter = CompileCounterWithBackend("eager")  # traced in full, without minutes of a C++ compiler
    compile_towers(network, counter)
    for _ in range(2):
        found = embed(network, image, token_BL, length_B, buckets=2)
        for side, wanted in zip(found, expected, strict=True):
            assert_rounding(side, wanted)
    assert_rounding_of_all(gradients(network, *found), reference)
    assert counter.frame_count == 1 + 2  # the image tower once, the text tower for widths of 8 and 24
    torch.compiler.reset()


def test_plain_open_clip_is_what_full_means(network_of: Any) -> None:
    network, (_, token_BL, _) = network_of(TOWERS["clip, argmax"]), batch()
    assert isinstance(network, open_clip.CLIP)
    assert_rounding(encode_text(network, token_BL), network.encode_text(token_BL))
