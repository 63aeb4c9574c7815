"""Where a student starts: from nothing, from a file, from any open_clip weights, at another size."""

from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.model import resize_pos_embed, resize_text_pos_embed
from PIL import Image
from pydantic import ValidationError

from mmkd.errors import ConfigError, ModelError
from mmkd.student import build
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.locate import Files
from mmkd.teachers.files.open_clip_folder import WEIGHTS, OpenClipModel, save, weights_file
from tiny import tiny_config

SCALE = 31.0
GREY = {"mean": (0.3, 0.3, 0.3), "std": (0.2, 0.2, 0.2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder with random weights, a scale and a transform of its own."""
    path = tmp_path_factory.mktemp("pretrained")
    settings = StudentSettings(config=tiny_config(), resize_mode="squash", init_scale=SCALE, **GREY)
    save(build_student(settings, 7), path)
    return path


def scale(model: OpenClipModel) -> float:
    found: Any = model.network.logit_scale
    return float(found.detach().exp())


def state(model: OpenClipModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.network.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def original() -> OpenClipModel:
    return build_student(StudentSettings(config=tiny_config(), init_scale=SCALE), 7)


def test_a_folder_brings_its_architecture_weights_transform_and_scale(folder: Path) -> None:
    model = build_student(StudentSettings(pretrained=f"local-dir:{folder}"), seed=99)
    assert same(state(model), state(original()))
    assert scale(model) == pytest.approx(SCALE)
    assert (model.preprocess["resize_mode"], tuple(model.preprocess["mean"])) == ("squash", GREY["mean"])


def test_settings_change_what_a_folder_brings(folder: Path) -> None:
    settings = StudentSettings(
        pretrained=f"local-dir:{folder}", init_scale=5.0, resize_mode="longest", std=(1.0, 1.0, 1.0)
    )
    model = build_student(settings, seed=99)
    assert scale(model) == pytest.approx(5.0)
    assert (model.preprocess["resize_mode"], tuple(model.preprocess["std"])) == ("longest", (1.0, 1.0, 1.0))
    assert tuple(model.preprocess["mean"]) == GREY["mean"]


def test_without_weights_the_scale_is_that_of_clip() -> None:
    assert scale(build_student(StudentSettings(config=tiny_config()), 0)) == pytest.approx(1 / 0.07, rel=2e-3)


def test_a_weights_file_keeps_its_scale_unless_another_is_given(folder: Path) -> None:
    given = {"config": tiny_config(), "weights": folder / WEIGHTS}
    assert scale(build_student(StudentSettings(**given), 0)) == pytest.approx(SCALE)
    assert scale(build_student(StudentSettings(**given, init_scale=3.0), 0)) == pytest.approx(3.0)


@pytest.mark.parametrize("how", ["image_size and context_length", "a config"])
def test_positions_are_resized_as_open_clip_does(how: str, folder: Path) -> None:
    config: Any = tiny_config()
    if how == "a config":
        config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"] = 64, 24
        settings = StudentSettings(config=config, pretrained=f"local-dir:{folder}")
    else:
        settings = StudentSettings(pretrained=f"local-dir:{folder}", image_size=64, context_length=24)
    model = build_student(settings, 0)
    expected = state(original())
    resize_pos_embed(expected, model.network)
    resize_text_pos_embed(expected, model.network)
    assert same(state(model), expected)
    assert expected["positional_embedding"].shape == (24, 32)
    assert expected["visual.positional_embedding"].shape == (1 + 16, 32)
    assert model.tokenizer(["a caption"]).shape == (1, 24)
    pixels = model.transform(Image.new("RGB", (80, 50)))
    assert pixels.shape == (3, 64, 64)
    assert model.network(pixels[None], model.tokenizer(["a caption"]))[0].shape == (1, 16)


def test_a_student_at_another_size_is_saved_at_that_size(folder: Path, tmp_path: Path) -> None:
    save(build_student(StudentSettings(pretrained=f"local-dir:{folder}", image_size=48), 0), tmp_path)
    again = build_student(StudentSettings(pretrained=f"local-dir:{tmp_path}"), 1)
    assert again.preprocess["size"] in (48, (48, 48), [48, 48])
    assert again.config["vision_cfg"]["image_size"] == 48


def test_a_bert_folder_brings_its_tokenizer_and_config(tmp_path: Path) -> None:
    from transformers import BertConfig

    from mmkd.phantom.write import write_tokenizer

    captions = ["an x-ray of the chest", "a slice of the retina"]
    write_tokenizer(tmp_path / "bert", captions * 3, vocab_size=120, lowercase=True)
    BertConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64
    ).save_pretrained(tmp_path / "bert")
    names = {"hf_model_name": str(tmp_path / "bert"), "hf_tokenizer_name": str(tmp_path / "bert")}
    config = {**tiny_config(), "text_cfg": {**names, "context_length": 12, "hf_pooler_type": "mean_pooler"}}
    first = build_student(StudentSettings(config=config), 3)
    save(first, tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    again = build_student(StudentSettings(pretrained=f"local-dir:{tmp_path / 'moved'}"), 4)
    assert same(state(first), state(again))
    assert torch.equal(first.tokenizer(captions), again.tokenizer(captions))


@pytest.mark.parametrize("quick", [False, True])
def test_a_tag_brings_weights_transform_and_activation(
    quick: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"file": str(folder / WEIGHTS), "quick_gelu": quick, "resize_mode": "longest", **GREY}
    monkeypatch.setattr(build, "architecture", lambda name: dict(tiny_config()))
    monkeypatch.setattr(build, "get_pretrained_cfg", lambda name, tag: facts if (name, tag) == ("Tiny", "ours") else {})
    model = build_student(StudentSettings(model="Tiny", pretrained="ours"), 0)
    assert same(state(model), state(original()))
    assert (model.preprocess["resize_mode"], tuple(model.preprocess["std"])) == ("longest", GREY["std"])
    kinds = {type(module).__name__ for module in model.network.modules()}
    assert ("QuickGELU" in kinds, "GELU" in kinds) == (quick, not quick)


def test_an_unknown_tag_names_near_ones() -> None:
    with pytest.raises(ConfigError, match="'laion2b_s34b_b88' is no tag of ViT-B-16; open_clip has laion2b_s34b_b88k"):
        build_student(StudentSettings(model="ViT-B-16", pretrained="laion2b_s34b_b88"), 0)


def test_what_cannot_be_fetched_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise FileNotFoundError("no such host")

    monkeypatch.setattr(build, "download_pretrained", offline)
    monkeypatch.setattr(open_clip_folder, "download_pretrained_from_hf", offline)
    for settings in (
        StudentSettings(model="ViT-B-16", pretrained="laion2b_s34b_b88k"),
        StudentSettings(pretrained="hf-hub:someone/something"),
    ):
        with pytest.raises(ModelError, match=r"student.pretrained '.*' cannot be fetched: no such host"):
            build_student(settings, 0)


def test_a_hub_repository_is_read_like_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = lambda repository, filename=WEIGHTS: str(folder / filename)  # noqa: E731
    monkeypatch.setattr(open_clip_folder, "download_pretrained_from_hf", fetched)
    model = build_student(StudentSettings(pretrained="hf-hub:someone/something"), 0)
    assert same(state(model), state(original()))
    assert model.preprocess["resize_mode"] == "squash"


def test_the_weights_are_those_that_open_clip_takes(tmp_path: Path) -> None:
    from open_clip.factory import _find_checkpoint_in_dir

    names = [
        "pytorch_model.bin",
        "model.safetensors",
        "open_clip_pytorch_model.bin",
        "open_clip_pytorch_model.safetensors",
    ]
    for name in [*names, WEIGHTS]:
        (tmp_path / name).touch()
        assert str(weights_file(tmp_path)) == _find_checkpoint_in_dir(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no open_clip_config.json found; expected an open_clip model folder"):
        build_student(StudentSettings(pretrained=f"local-dir:{tmp_path}"), 0)
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(ModelError, match=r"no weights found; expected open_clip_model.safetensors"):
        build_student(StudentSettings(pretrained=f"local-dir:{tmp_path}"), 0)


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"student.pretrained 'local-dir:.*': .* does not load into this architecture"):
        build_student(StudentSettings(config=tiny_config(width=48), pretrained=f"local-dir:{folder}"), 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either model"),
        ({"model": "ViT-B-16", "config": {}}, "give either model"),
        ({"pretrained": "openai"}, "give either model"),
        (
            {"config": {"embed_dim": 8}, "pretrained": "openai"},
            "a tag of an open_clip architecture, but no model is given",
        ),
        ({"model": "ViT-B-16", "pretrained": "openai", "pretrained_towers": True}, "pretrained and pretrained_towers"),
        ({"model": "ViT-B-16", "pretrained": "openai", "weights": "file.pt"}, "pretrained and weights are given"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StudentSettings(**given)


def test_a_folder_stands_beside_the_recipe(tmp_path: Path) -> None:
    settings = StudentSettings.model_validate({"pretrained": "local-dir:models/a"}, context={"base": tmp_path})
    assert settings.pretrained == f"local-dir:{tmp_path / 'models' / 'a'}"
    assert (
        StudentSettings.model_validate({"pretrained": "hf-hub:a/b"}, context={"base": tmp_path}).pretrained
        == "hf-hub:a/b"
    )


def test_one_way_of_writing_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="is a model of transformers, but open_clip builds the student"):
        StudentSettings(pretrained="transformers:org/clip")
    with pytest.raises(ConfigError, match="'medclip' is read by a way of its own"):
        build_student(StudentSettings(pretrained="medclip"), 0)
    described = build.zoo_entry("chexzero").model_copy(update={"config": tiny_config(), "architecture": ""})
    student = build_student(StudentSettings(config=tiny_config()), 3)
    save(student, tmp_path)
    monkeypatch.setattr(build, "zoo_entry", lambda name: described)
    monkeypatch.setattr(build, "find_weights", lambda entry, folder: Files((tmp_path / WEIGHTS,)))
    found = build_student(StudentSettings(pretrained="chexzero"), 0)
    assert torch.equal(found.network.visual.conv1.weight, student.network.visual.conv1.weight)
    assert found.preprocess["mean"] == pytest.approx(described.preprocess["mean"])
