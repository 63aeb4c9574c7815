"""Every usable teacher of the zoo, in every variant and published file, against its own library to 1e-5.

Weights are random and sizes small; names, kinds and wrappers of the files are the published ones.
"""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from miniature import (
    CAPTIONS,
    CONFIG,
    CONTEXT,
    DIM,
    FORMS,
    Oracle,
    every_form,
    miniature,
    open_clip_folder,
    oracle,
    pictures,
    publish,
    publish_words,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.settings import overlaid
from mmkd.teachers.entry import ZooEntry, zoo_entry
from mmkd.teachers.layouts import LAYOUTS, load_strictly
from mmkd.teachers.load import ADAPTERS, load_entry
from mmkd.teachers.teacher import Teacher

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MMKD_TEACHERS", raising=False)


def small(name: str, variant: str | None = None, **changes: Any) -> ZooEntry:
    data = overlaid(miniature(zoo_entry(name, variant)).model_dump(), changes)
    return ZooEntry.model_validate(data)


def published(entry: ZooEntry, folder: Path, index: int = 0) -> Oracle:
    """The oracle, and its weights and words as published in the folder."""
    found = oracle(entry, folder / "own", rounded=entry.name == "pubmedclip")
    publish(entry, found.state, folder, index)
    publish_words(entry, folder / "own", folder)
    return found


def teacher(entry: ZooEntry, folder: Path) -> Teacher:
    return Teacher(entry.name, entry.licence, load_entry(entry, folder), CPU)


def image_vectors(found: Teacher) -> Tensor:
    return found.encode_images(torch.stack([found.transform.pixels(image) for image in pictures()]))


def assert_same(found_ND: Tensor, wanted_ND: Tensor) -> None:
    torch.testing.assert_close(found_ND, F.normalize(wanted_ND, dim=1), atol=1e-5, rtol=0)


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


# ---- files that do not fit


def spoilt(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    key = "visual.proj"
    others = {name: value for name, value in state.items() if name != key}
    return {
        "missing": others,
        "extra": {**state, "text.spare": torch.ones(1)},
        "shape": {**others, key: torch.ones(32, DIM + 1)},
        "transposed": {**others, key: state[key].T.contiguous()},
        "renamed": {**others, "visual.head": state[key]},
    }[how]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"1 weights are missing \(visual\.proj\)"),
        ("extra", r"1 are not of this model \(text\.spare\)"),
        ("shape", r"1 have another shape \(visual\.proj \(32, 25\) instead of \(32, 24\)\)"),
        ("transposed", r"1 have another shape \(visual\.proj \(24, 32\) instead of \(32, 24\)\)"),
        ("renamed", r"1 weights are missing \(visual\.proj\); 1 are not of this model \(visual\.head\)"),
    ],
)
def test_what_does_not_fit_is_counted_and_changes_nothing(how: str, message: str, tmp_path: Path) -> None:
    entry = small("medpmc-clip")
    state = published(entry, tmp_path).state
    publish(entry, spoilt(state, how), tmp_path)
    with pytest.raises(ModelError, match=message):
        load_entry(entry, tmp_path)
    network = ADAPTERS["open_clip"].build(entry)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        load_strictly(network, spoilt(state, how), "here")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_layout_that_is_not_converted_does_not_fit(tmp_path: Path) -> None:
    entry = small("unimed-clip")
    published(entry, tmp_path)
    with pytest.raises(ModelError, match=r"weights are missing \(text\..*are not of this model \(text_encoder\."):
        load_entry(small("unimed-clip", layout="plain"), tmp_path)
    assert "text_encoder" in LAYOUTS


@pytest.mark.parametrize(
    ("name", "there", "wanted"),
    [
        ("quiltnet", "b-32", None),
        ("quiltnet", None, "b-16-pmb"),
        ("genmedclip", None, "b-16"),
        ("unimed-clip", None, "l14-336-base"),
    ],
)
def test_another_variants_file_does_not_fit(name: str, there: str | None, wanted: str | None, tmp_path: Path) -> None:
    entry = small(name, wanted)
    published(small(name, there), tmp_path)
    assert entry.weights
    (tmp_path / small(name, there).weights.files[0][0]).rename(tmp_path / entry.weights.files[0][0])  # type: ignore[union-attr]
    publish_words(entry, open_clip_folder(entry, tmp_path / "words"), tmp_path)
    with pytest.raises(ModelError, match=rf"teacher '{name}': .*does not fit the model.*is it another variant\?"):
        load_entry(entry, tmp_path)


def test_another_models_vocabulary_is_refused(tmp_path: Path) -> None:
    """BERT-base's is as large as PubMedBERT's, and would give numbers without a complaint."""
    entry = small("biomedclip")
    published(entry, tmp_path)
    words = (tmp_path / "text" / "vocab.txt").read_text().split()
    (tmp_path / "text" / "vocab.txt").write_text("\n".join([*words[5:], *words[:5]]) + "\n")
    with pytest.raises(ModelError, match=r"\[CLS\] is number .*; 'biomedclip' was trained with .*another model's"):
        load_entry(entry, tmp_path)


# ---- configs beside the weights


def beside(entry: ZooEntry, folder: Path, **changes: Any) -> Path:
    """The right open_clip_config.json of the entry, with changes, beside its published weights."""
    path = open_clip_folder(entry, folder / "own") / CONFIG
    (folder / CONFIG).write_text(json.dumps(overlaid(json.loads(path.read_text()), changes)))
    return folder / CONFIG


def test_a_config_that_agrees_is_no_obstacle(tmp_path: Path) -> None:
    entry = small("biomedclip")
    wanted = published(entry, tmp_path)
    beside(entry, tmp_path, model_cfg={"vision_cfg": {"timm_model_pretrained": True}}, preprocess_cfg={"hf_hub": "x"})
    with torch.inference_mode():
        assert_same(teacher(entry, tmp_path).encode_texts(CAPTIONS), wanted.texts(CAPTIONS))


def test_the_key_names_of_old_configs_are_understood(tmp_path: Path) -> None:
    entry = small("biomedclip")
    published(entry, tmp_path)
    path = beside(entry, tmp_path)
    text = path.read_text().replace("hf_proj_type", "proj").replace("hf_pooler_type", "pooler_type")
    path.write_text(text)
    load_entry(entry, tmp_path)
    path.write_text(text.replace("cls_last_hidden_state_pooler", "cls_pooler"))
    with pytest.raises(ModelError, match=r"text_cfg\.hf_pooler_type is 'cls_pooler' there"):
        load_entry(entry, tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("quiltnet", {"model_cfg": {"quick_gelu": True}}, "quick_gelu is True there and False in the zoo"),
        ("pubmedclip", {"model_cfg": {"quick_gelu": False}}, "quick_gelu is False there and True in the zoo"),
        ("biomedclip", {"model_cfg": {"text_cfg": {"hf_pooler_type": "mean_pooler"}}}, "text_cfg.hf_pooler_type is"),
        ("biomedclip", {"model_cfg": {"text_cfg": {"hf_proj_type": "linear"}}}, "text_cfg.hf_proj_type is 'linear'"),
        ("biomedclip", {"model_cfg": {"vision_cfg": {"timm_pool": "avg"}}}, "vision_cfg.timm_pool is 'avg' there"),
        ("dermlip", {"preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}, r"preprocess_cfg.mean is \[0.5, 0.5, 0.5\] there"),
        ("dermlip", {"preprocess_cfg": {"std": [0.2, 0.2, 0.2]}}, "preprocess_cfg.std is"),
        ("dermlip", {"preprocess_cfg": {"resize_mode": "squash"}}, "preprocess_cfg.resize_mode is 'squash' there"),
        ("dermlip", {"model_cfg": {"vision_cfg": {"no_such_key": 1}}}, "not an open_clip config.*no_such_key"),
        ("dermlip", {"model_cfg": 3}, "not an open_clip config"),
    ],
)
def test_a_config_that_contradicts_is_named(name: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    entry = small(name)
    published(entry, tmp_path)
    beside(entry, tmp_path, **changes)
    with pytest.raises(ModelError, match=rf"{CONFIG}: .*{message}"):
        load_entry(entry, tmp_path)


def test_the_variant_that_a_config_asks_for_loads(tmp_path: Path) -> None:
    quick = small("dermlip", "quick-gelu")
    published(quick, tmp_path)
    beside(quick, tmp_path)
    load_entry(quick, tmp_path)
    with pytest.raises(ModelError, match=r"quick_gelu is True there and False in the zoo; is it another variant\?"):
        load_entry(small("dermlip"), tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "changes", "message"),
    [
        ("plip", "config.json", {"vision_config": {"hidden_act": "gelu"}}, "vision_config.hidden_act is 'gelu' there"),
        ("plip", "config.json", {"text_config": {"num_attention_heads": 4}}, "text_config.num_attention_heads is 4"),
        ("medsiglip", "config.json", {"model_type": "clip"}, "model_type is 'clip' there"),
        (
            "monet",
            "preprocessor_config.json",
            {"image_mean": [0.48, 0.46, 0.41]},
            r"mean is \(0.48, 0.46, 0.41\) there",
        ),
        (
            "monet",
            "preprocessor_config.json",
            {"do_center_crop": False},
            "image processor that|geometry is|not a config",
        ),
        ("medsiglip", "preprocessor_config.json", {"resample": 2}, "geometry is Resize .*bilinear.* there"),
    ],
)
def test_configs_of_transformers_are_compared(
    name: str, file: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    entry = small(name)
    published(entry, tmp_path)
    for beside_it in ("config.json", "preprocessor_config.json"):
        (tmp_path / beside_it).write_bytes((tmp_path / "own" / beside_it).read_bytes())
    load_entry(entry, tmp_path)
    found = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps(overlaid(found, changes)))
    with pytest.raises(ModelError, match=rf"{file}: .*({message})"):
        load_entry(entry, tmp_path)
    (tmp_path / file).write_text("{")
    with pytest.raises(ModelError, match=rf"{file}: not a config of transformers"):
        load_entry(entry, tmp_path)


def test_transformers_own_weights_load_where_keys_lack(tmp_path: Path) -> None:
    entry = small("monet")
    published(entry, tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["visual_projection.weight"]
    save_file(tensors, path)
    with pytest.raises(ModelError, match=r"1 weights are missing \(visual_projection\.weight\)"):
        load_entry(entry, tmp_path)


def test_sentencepiece_is_asked_for_where_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    entry = small("medsiglip")
    published(entry, tmp_path)
    (tmp_path / "text" / "spiece.model").write_bytes(b"pieces")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModelError, match="'medsiglip' needs a package: pip install sentencepiece"):
        load_entry(entry, tmp_path)
