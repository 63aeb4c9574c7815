"""Files and configs that are not what an entry of the zoo says are refused with what differs, and change nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import CAPTIONS, DIM
from oracles import CONFIG, open_clip_folder
from published_files import assert_same, publish, publish_words, published, small, teacher
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkd.errors import ModelError
from mmkd.settings import overlaid
from mmkd.teachers.files.layouts import LAYOUTS, load_strictly
from mmkd.teachers.load import ADAPTERS, load_entry
from mmkd.teachers.zoo.entry import ZooEntry


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
    with pytest.raises(ModelError, match=rf"{file}: not a readable JSON file"):
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
