"""The first dimensions of a student as a model of their own, whatever its towers are."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmkd.errors import ConfigError
from mmkd.student.prefix import first_dimensions
from mmkd.teachers.files.open_clip_folder import OpenClipModel, build

WHOLE, DIM = 24, 7
VIT = {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}


def timm(**more: Any) -> dict[str, Any]:
    return {"timm_model_name": "test_byobnet", "image_size": 32, **more}


def made(vision: dict[str, Any], text: dict[str, Any] = TEXT, **config: Any) -> OpenClipModel:
    torch.manual_seed(0)
    model = build({"embed_dim": WHOLE, "vision_cfg": vision, "text_cfg": text, **config})
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    model.network.eval()
    return model


@torch.no_grad()
@pytest.mark.parametrize(
    "vision",
    [VIT, RESNET, timm(timm_proj="linear"), timm(timm_proj="linear", timm_proj_bias=True)],
    ids=["vit", "resnet", "timm", "timm with a bias"],
)
@pytest.mark.parametrize("custom", [False, True], ids=["clip", "custom text"])
def test_vectors_are_the_beginning_of_the_whole_ones(vision: dict[str, Any], custom: bool) -> None:
    whole = made(vision, custom_text=custom)
    cut: Any = first_dimensions(whole, DIM)
    network: Any = whole.network
    assert cut.dim == DIM
    assert cut.config == {**whole.config, "embed_dim": DIM}
    pixels = torch.rand(5, 3, 32, 32)
    tokens = whole.tokenizer(["no finding", "a chest x-ray", "drusen"])
    for found, expected in (
        (cut.network.encode_image(pixels, normalize=True), network.encode_image(pixels)),
        (cut.network.encode_text(tokens, normalize=True), network.encode_text(tokens)),
    ):
        assert found.shape[1] == DIM
        torch.testing.assert_close(found, F.normalize(expected[:, :DIM], dim=1), rtol=1e-5, atol=1e-5)
    assert torch.equal(cut.network.logit_scale, network.logit_scale)


def test_a_projection_whose_hidden_layer_grows_with_the_vectors_is_refused() -> None:
    with pytest.raises(ConfigError, match="no model of their own"):
        first_dimensions(made(timm(timm_proj="mlp")), DIM)


@pytest.mark.parametrize("dim", [0, WHOLE, WHOLE + 1])
def test_more_dimensions_than_there_are_cannot_be_kept(dim: int) -> None:
    with pytest.raises(ConfigError, match="vectors of 24 dimensions; give a number from 1 to 23"):
        first_dimensions(made(VIT), dim)


def test_layers_that_were_as_wide_as_the_vectors_by_chance_stay_whole() -> None:
    """Towers of the width of the vectors: only the last axis is cut."""
    whole = made({**VIT, "width": WHOLE, "head_width": 12}, {**TEXT, "width": WHOLE})
    cut = first_dimensions(whole, DIM)
    before, after = (sum(p.numel() for p in one.network.parameters()) for one in (whole, cut))
    assert before - after == 2 * WHOLE * (WHOLE - DIM)
