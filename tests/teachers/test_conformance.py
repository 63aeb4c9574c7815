"""Every usable teacher of the zoo, in every variant and published file, against its own library to 1e-5.

Weights are random and sizes small; names, kinds and wrappers of the files are the published ones.
"""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from miniature import CAPTIONS, CONTEXT, DIM, every_form, pictures
from published_files import FORMS, assert_same, image_vectors, published, small, teacher
from torch import Tensor


@pytest.mark.parametrize(("name", "variant", "index"), every_form())
def test_vectors_are_its_own_librarys(name: str, variant: str | None, index: int, tmp_path: Path) -> None:
    entry = small(name, variant)
    wanted = published(entry, tmp_path, index)
    found = teacher(entry, tmp_path)
    with torch.inference_mode():
        assert_same(image_vectors(found), wanted.images(pictures()))
        texts_ND = wanted.texts(CAPTIONS)
    assert_same(found.encode_texts(CAPTIONS), texts_ND)
    assert_same(found.encode_texts(CAPTIONS[:-1]), texts_ND[:-1])  # a batch without the longest, padding cut off
    assert found.dim == entry.dim
    assert (texts_ND[1:] - texts_ND[:1]).abs().amax(dim=1).min() > 1e-3  # or equal vectors would prove nothing


def test_every_form_of_a_file_belongs_to_an_entry() -> None:
    assert FORMS.keys() == {name for name, _, _ in every_form()}


# what loads silently wrong where nothing lies beside the weights: with it the other way, vectors differ
SILENT: list[tuple[str, str | None, dict[str, Any]]] = [
    ("unimed-clip", None, {"config": {"quick_gelu": False}}),
    ("pubmedclip", None, {"config": {"quick_gelu": False}}),
    ("bmc-clip", None, {"config": {"quick_gelu": True}}),
    ("biomedclip", None, {"config": {"text_cfg": {"hf_pooler_type": "mean_pooler"}}}),
    ("monet", None, {"preprocess": {"mean": [0.48145466, 0.4578275, 0.40821073]}}),
    ("chexzero", None, {"preprocess": {"resize_mode": "shortest"}}),
    ("plip", None, {"config": {"vision_config": {"hidden_act": "gelu"}}}),
    ("medsiglip", None, {"padding": "longest"}),
]


@pytest.mark.parametrize(("name", "variant", "wrong"), SILENT)
def test_these_facts_show_in_the_vectors(name: str, variant: str | None, wrong: dict[str, Any], tmp_path: Path) -> None:
    entry = small(name, variant)
    published(entry, tmp_path)
    right, other = teacher(entry, tmp_path), teacher(small(name, variant, **wrong), tmp_path)
    images = (image_vectors(right) - image_vectors(other)).abs().max()
    texts = (right.encode_texts(CAPTIONS[:-1]) - other.encode_texts(CAPTIONS[:-1])).abs().max()
    assert max(images, texts) > 1e-3


# ---- PLIP by way of another library, its keys renamed by hand


def of_open_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """CLIP's published Hugging Face names to open_clip's."""
    parts = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
        "vision_model.embeddings.class_embedding": "visual.class_embedding",
        "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
        "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
        "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
        "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
        "vision_model.post_layernorm.weight": "visual.ln_post.weight",
        "vision_model.post_layernorm.bias": "visual.ln_post.bias",
        "logit_scale": "logit_scale",
    }
    found = {new: state[old] for old, new in parts.items()}
    found |= {"visual.proj": state["visual_projection.weight"].T, "text_projection": state["text_projection.weight"].T}
    names = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    for tower, prefix in (("text_model", ""), ("vision_model", "visual.")):
        for layer in range(2):
            old, new = f"{tower}.encoder.layers.{layer}", f"{prefix}transformer.resblocks.{layer}"
            for kind in ("weight", "bias"):
                joined = [state[f"{old}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                found[f"{new}.attn.in_proj_{kind}"] = torch.cat(joined)
                found[f"{new}.attn.out_proj.{kind}"] = state[f"{old}.self_attn.out_proj.{kind}"]
                found |= {f"{new}.{there}.{kind}": state[f"{old}.{here}.{kind}"] for here, there in names.items()}
    return found


def test_plip_is_open_clips_quick_gelu_clip(tmp_path: Path) -> None:
    entry = small("plip")
    state = published(entry, tmp_path).state
    sizes = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
    text = {"context_length": CONTEXT, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    clip = open_clip.CLIP(DIM, {**sizes, "mlp_ratio": 2.0}, {**text, "mlp_ratio": 2.0}, quick_gelu=True).eval()
    clip.load_state_dict(of_open_clip(state), strict=True)
    found = teacher(entry, tmp_path)
    pixels = torch.stack([found.transform(image) for image in pictures()])
    with torch.inference_mode():
        assert_same(image_vectors(found), clip.encode_image(pixels))
        texts_ND = clip.encode_text(open_clip.SimpleTokenizer(context_length=CONTEXT)(CAPTIONS))
    assert_same(found.encode_texts(CAPTIONS), texts_ND)
