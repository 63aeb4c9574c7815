"""Folders of transformers: what their image processors switch off, and how many tokens their text towers take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mmkd.errors import ConfigError, ModelError
from mmkd.teachers.adapters.transformers import image_transform
from mmkd.teachers.files.open_clip_folder import CONFIG, WEIGHTS, build, load, positions_of, save
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from tiny import tiny_config

CPU = torch.device("cpu")
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
SQUARE = {"height": 32, "width": 32}
WIDE = {"shortest_edge": 36}
PROCESSORS: dict[str, dict[str, Any]] = {
    "standard": {},
    "no normalisation": {"do_normalize": False},
    "no rescaling": {"do_rescale": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "to -1..1 by the factor": {"rescale_factor": 1 / 127.5},
    "another factor, not normalised": {"rescale_factor": 1 / 127.5, "do_normalize": False},
    "no conversion to RGB": {"do_convert_rgb": False},
    "a smaller crop": {"size": WIDE},
    "a smaller crop that is no square": {"size": WIDE, "crop_size": {"height": 30, "width": 32}},
    "no crop": {"size": SQUARE, "do_center_crop": False},
    "a crop of a square": {"size": {"height": 40, "width": 37}},
    "bilinear": {"resample": 2},
}


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("side", [(61, 40), (40, 61), (32, 32), (35, 90)])
def test_an_image_processor_is_obeyed(name: str, side: tuple[int, int]) -> None:
    from transformers import CLIPImageProcessorPil

    settings = {"size": {"shortest_edge": 32}, "crop_size": SQUARE, **PROCESSORS[name]}
    processor = CLIPImageProcessorPil(**settings)
    rng = np.random.default_rng(sum(side))
    image = Image.fromarray(rng.integers(0, 256, (*side, 3), dtype=np.uint8))
    wanted = torch.as_tensor(np.asarray(processor(images=image)["pixel_values"][0])).float()
    found = image_transform(processor.to_dict())(image)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0) > 0.999999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_resize": False}, "do_resize False, .*images would keep different sizes"),
        ({"do_center_crop": False}, "do_center_crop False, .*images would keep different sizes"),
        ({"resample": 1}, "steps that are not understood"),
        ({"do_pad": True}, "steps that are not understood: do_pad"),
        ({"size": {"shortest_edge": 20}}, "expected a crop no larger"),
    ],
)
def test_what_is_not_understood_is_refused(changes: dict[str, Any], message: str) -> None:
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE).to_dict()
    with pytest.raises(ValueError, match=message):
        image_transform({**processor, **changes})


def dual_encoder(folder: Path, positions: int) -> Path:
    """A ViT and a RoBERTa, which counts its positions from behind the padding's number, 1."""
    from transformers import (
        CLIPImageProcessor,
        RobertaConfig,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        ViTConfig,
    )

    from mmkd.phantom.write import write_tokenizer

    text = RobertaConfig(vocab_size=200, max_position_embeddings=positions, pad_token_id=1, **SMALL)
    vision = ViTConfig(image_size=32, patch_size=16, **SMALL)
    config = VisionTextDualEncoderConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    VisionTextDualEncoderModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE).save_pretrained(folder)
    write_tokenizer(folder, ["a chest radiograph with a nodule"] * 3, vocab_size=200, lowercase=True)
    return folder


def test_a_roberta_gets_the_positions_that_it_has(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, VisionTextDualEncoderModel

    folder = dual_encoder(tmp_path, positions=14)
    teacher = load_teacher(TeacherSpec(name="t", library="transformers", model=str(folder)), CPU)
    long = "a chest radiograph with a nodule " * 20
    assert teacher.tokenizer([long]).ids_NL.shape == (1, 12)  # 14 less padding's number and the one before
    model, words = VisionTextDualEncoderModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = words([long], truncation=True, max_length=12, return_tensors="pt")
    with torch.inference_mode():
        wanted = model.get_text_features(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    wanted = getattr(wanted, "pooler_output", wanted)
    assert torch.cosine_similarity(teacher.encode_texts([long]), wanted) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("kind", "room"), [("BertModel", 20), ("RobertaModel", 18), ("MPNetModel", 18)])
def test_positions_are_counted_as_the_tower_counts_them(kind: str, room: int) -> None:
    import transformers

    model = getattr(transformers, kind)
    config = model.config_class(vocab_size=50, max_position_embeddings=20, pad_token_id=1, **SMALL)
    tower = model(config).eval()
    assert positions_of(tower) == room
    tower(torch.full((1, room), 5))
    with pytest.raises((IndexError, RuntimeError)):
        tower(torch.full((1, room + 1), 5))


def roberta(folder: Path, context: int) -> dict[str, Any]:
    from transformers import RobertaConfig

    from mmkd.phantom.write import write_tokenizer

    write_tokenizer(folder, ["a chest radiograph"] * 3, vocab_size=120, lowercase=True)
    RobertaConfig(vocab_size=120, max_position_embeddings=14, pad_token_id=1, **SMALL).save_pretrained(folder)
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "context_length": context}
    return {**tiny_config(), "text_cfg": text}


def test_a_context_beyond_the_positions_is_refused(tmp_path: Path) -> None:
    assert build(roberta(tmp_path, 12)).dim == 16
    with pytest.raises(ConfigError, match="context_length is 13, but the text tower has positions for 12 tokens"):
        build(roberta(tmp_path, 13))


WRAPPED = {
    "compiled": ("_orig_mod.", {}),
    "DDP": ("module.", {}),
    "Lightning": ("model.", {}),
    "averaged": ("module.", {"n_averaged": torch.tensor(2)}),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_folder_of_a_training_library_loads(tmp_path: Path, name: str) -> None:
    student, (prefix, more) = build(tiny_config()), WRAPPED[name]
    save(student, tmp_path)
    save_file({**{prefix + k: v for k, v in load_file(tmp_path / WEIGHTS).items()}, **more}, tmp_path / WEIGHTS)
    assert torch.equal(load(tmp_path).network.visual.conv1.weight, student.network.visual.conv1.weight)


def test_an_unknown_prefix_is_named_in_a_few_lines(tmp_path: Path) -> None:
    save(build(tiny_config()), tmp_path)
    tensors = {f"net.clip.{key}": value for key, value in load_file(tmp_path / WEIGHTS).items()}
    save_file({**tensors, "loss.weight": torch.ones(1)}, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"the names begin with 'net\.clip\.'; strip it") as caught:
        load(tmp_path)
    assert len(str(caught.value).replace(str(tmp_path), "")) < 360


def test_a_folder_in_parts_loads_and_half_of_it_does_not(tmp_path: Path) -> None:
    import json

    student = build(tiny_config())
    save(student, tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    (tmp_path / WEIGHTS).unlink()
    names = {key: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, key in enumerate(tensors)}
    for name in set(names.values()):
        save_file({key: value for key, value in tensors.items() if names[key] == name}, tmp_path / name)
    with pytest.raises(ModelError, match="one part of a checkpoint in several"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert torch.equal(load(tmp_path).network.visual.conv1.weight, student.network.visual.conv1.weight)
    assert (tmp_path / CONFIG).is_file()
