"""What transformers opens gives the student's vectors; the oracle is open_clip with the student's own network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from tiny_students import FIRST, POOLED, TEXT, TIMM, VISION, Maker

from mmkd.errors import ModelError
from mmkd.export.to_transformers import image_processor, write
from mmkd.teachers.files.open_clip_folder import OpenClipModel

TEXTS = ["a chest x-ray", "no finding", "drusen of the eye", ""]
EOS = {"hf_tokenizer_name": "", "vocab_size": 120, "pool_type": "eos"}


def pictures(size: int = 32) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)) for _ in range(3)]


@torch.inference_mode()
def expected(model: OpenClipModel, texts: list[str] = TEXTS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    network: Any = model.network
    image_BCHW = torch.stack([model.transform(image) for image in pictures()])
    image_ND = F.normalize(network.encode_image(image_BCHW), dim=1)
    text_TD = F.normalize(network.encode_text(model.tokenizer(texts)), dim=1)
    return image_ND, text_TD, (network.logit_scale.exp() * image_ND @ text_TD.T).softmax(dim=1)


STUDENTS: dict[str, tuple[dict[str, Any], str]] = {
    "clip": ({}, "CLIPModel"),
    "quick_gelu": ({"quick_gelu": True}, "CLIPModel"),
    "own text length": ({"text": {**TEXT, "pool_type": "eos", "eos_id": 49407}}, "CLIPModel"),
    "bert, first token": ({"pooler": FIRST}, "ChineseCLIPModel"),
    "bert, pooling layer": ({"pooler": POOLED}, "VisionTextDualEncoderModel"),
    "timm and clip": ({"vision": TIMM}, "VisionTextDualEncoderModel"),
    "timm and bert": ({"vision": TIMM, "pooler": POOLED}, "VisionTextDualEncoderModel"),
}


SLOW = ("clip", "own text length", "timm and bert")  # each is near another


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in STUDENTS])
def test_the_pipeline_of_transformers_gives_the_students_probabilities(name: str, make: Maker, tmp_path: Path) -> None:
    settings, kind = STUDENTS[name]
    model = make(**settings)
    assert write(model, tmp_path) == ""
    run = transformers.pipeline("zero-shot-image-classification", model=str(tmp_path))
    assert type(run.model).__name__ == kind
    found = run(pictures(), candidate_labels=TEXTS, hypothesis_template="{}")
    _, _, expected_NT = expected(model)
    for row, expected_T in zip(found, expected_NT, strict=True):
        scores = {one["label"]: one["score"] for one in row}
        assert [scores[text] for text in TEXTS] == pytest.approx(expected_T.tolist(), abs=1e-5)
        assert max(scores.values()) < 0.999  # of probabilities that are all or nothing, little could be told


def test_the_files_are_safe_and_readable(make: Maker, tmp_path: Path) -> None:
    write(make(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    }
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "config.json").stat().st_mode
    assert not any(str(tmp_path) in path.read_text(errors="ignore") for path in tmp_path.iterdir())
    processor = transformers.AutoProcessor.from_pretrained(tmp_path)
    assert processor(text=["x " * 99], truncation=True)["input_ids"][0][-1] == 49407


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "two layers": ({"pooler": POOLED, "projection": "mlp"}, "two layers"),
    "mean of a bert": ({"pooler": "mean_pooler"}, "pooled by MeanPooler"),
    "no causal mask": ({"text": {**TEXT, "no_causal_mask": True, "pool_type": "first"}}, "no causal mask, pooling"),
    "bias": ({"init_logit_bias": -1.0}, "adds a bias"),
    "layer scale": ({"text": {**TEXT, "ls_init_value": 0.1}}, "not CLIP's own"),
    "id 2": ({"text": {**TEXT, "pool_type": "eos", "eos_id": 2}}, "id 2 as the end"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_of_a_student_whose_texts_do_not_fit_the_image_tower_is_written(name: str, make: Maker, tmp_path: Path) -> None:
    settings, reason = REFUSED[name]
    model = make(**settings)
    assert reason in write(model, tmp_path)
    assert not (tmp_path / "tokenizer.json").exists()
    tower = transformers.CLIPVisionModelWithProjection.from_pretrained(tmp_path).eval()
    pixels = transformers.AutoImageProcessor.from_pretrained(tmp_path)(pictures(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        found = F.normalize(tower(pixel_values=pixels).image_embeds, dim=1)
    torch.testing.assert_close(found, expected(model)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"vision": {**VISION, "no_ln_pre": True}}, "no normalisation before its blocks"),
        ({"vision": {**VISION, "pool_type": "avg"}}, "pooling 'avg'"),
        ({"vision": {"layers": [1, 1, 1, 1], "width": 16, "head_width": 64, "image_size": 32}}, "ModifiedResNet"),
        ({"vision": {**TIMM, "timm_proj": "mlp"}}, "ends in more than a projection"),
        ({"vision": TIMM, "pooler": FIRST}, "beside CLIP's ViT only"),
        ({"preprocess": {"resize_mode": "longest", "fill_color": 9}}, "filled up with 9"),
    ],
)
def test_a_student_without_a_counterpart_is_refused_with_the_reason(
    settings: dict[str, Any], reason: str, make: Maker, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=rf"not written for transformers: .*{reason}.*leave transformers out"):
        write(make(**settings), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64), (40, 60), (16, 32)])  # even margins
def test_the_processor_is_open_clips_transform_but_for_rounding(mode: str, size: tuple[int, int], make: Maker) -> None:
    model = make(preprocess={"resize_mode": mode})
    coarse = np.random.default_rng(2).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size)
    found = image_processor(model.preprocess)(image, return_tensors="pt")["pixel_values"][0]
    level = 1 / 255 / min(model.preprocess["std"])
    assert float((found - model.transform(image)).abs().max()) < 3 * level
