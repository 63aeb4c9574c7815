"""Null models: what they use of an image and what they cannot."""

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from mmkd.evaluation.format.results import NULLS
from mmkd.evaluation.models.encoders import Chance, ColourAndSize, loadable_model, null_model
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from tolerance import assert_rounding

CPU = torch.device("cpu")


def noise(seed: int, width: int = 20, height: int = 10) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8))


def test_colours_and_size_do_not_see_where_anything_is() -> None:
    picture = noise(0, 64, 64)
    pixels_PC = np.asarray(picture).reshape(-1, 3)
    stirred = np.random.default_rng(1).permutation(pixels_PC).reshape(64, 64, 3)
    encoder = ColourAndSize()
    torch.testing.assert_close(encoder.prepare(picture), encoder.prepare(Image.fromarray(stirred)))


def test_colours_and_size_see_colour_and_shape() -> None:
    encoder = ColourAndSize()
    grey, dark = (encoder.prepare(Image.new("RGB", (8, 8), (value,) * 3)) for value in (128, 10))
    wide = encoder.prepare(Image.new("RGB", (16, 8), (128,) * 3))
    assert not torch.equal(grey, dark)
    assert not torch.equal(grey, wide)
    assert grey[:3].tolist() == pytest.approx([128 / 255] * 3)
    assert encoder.encode_texts(["a"]) is None


def test_chance_has_one_direction_for_each_thing_and_no_two_alike() -> None:
    encoder = Chance()
    same, other = encoder.prepare(noise(0)), encoder.prepare(noise(1))
    assert torch.equal(same, encoder.prepare(noise(0)))
    assert abs(float(torch.cosine_similarity(same, other, dim=0))) < 0.5
    texts = encoder.encode_texts(["a", "b", "a"])
    assert_rounding(texts[0], texts[2])
    assert not torch.equal(texts[0], texts[1])
    assert encoder.encode_texts([]).shape == (0, 64)


def test_chance_is_right_as_often_as_guessing() -> None:
    encoder = Chance()
    image_ND = torch.stack([encoder.prepare(noise(seed)) for seed in range(900)])
    class_CD = encoder.encode_texts(["first", "second", "third"])
    share_C = np.bincount((image_ND @ class_CD.T).argmax(dim=1).numpy(), minlength=3) / 900
    assert share_C == pytest.approx([1 / 3] * 3, abs=0.08)  # five standard errors


def test_random_weights_keep_the_architecture_and_lose_what_was_learnt(tiny_teachers: list[TeacherSpec]) -> None:
    spec = tiny_teachers[0]
    learnt = load_teacher(spec, CPU)
    first, again, other = (null_model("random_weights", spec, seed).load(CPU) for seed in (0, 0, 1))
    texts = ["a scan", "another one"]
    assert_rounding(first.encode_texts(texts), again.encode_texts(texts))
    for encoder in (other, learnt):
        assert not torch.allclose(first.encode_texts(texts), encoder.encode_texts(texts), atol=1e-3)
    before = {name: value.flatten().sort().values for name, value in learnt.towers.network.named_parameters()}
    after = dict(cast(Any, first)._teacher.towers.network.named_parameters())
    assert all(torch.equal(after[name].flatten().sort().values, value) for name, value in before.items())


@pytest.mark.parametrize("name", NULLS)
def test_digests_tell_encoders_apart(name: str, tiny_teachers: list[TeacherSpec]) -> None:
    digests = {null_model(null, tiny_teachers[0], 0).digest for null in NULLS}
    assert len(digests) == len(NULLS)
    assert null_model(name, tiny_teachers[0], 0).digest in digests


def test_a_folder_that_was_moved_is_the_same_model(tiny_teachers: list[TeacherSpec], tmp_path: Path) -> None:
    spec = tiny_teachers[0]
    shutil.copytree(spec.model.removeprefix("local-dir:"), tmp_path / "moved")
    moved = spec.model_copy(update={"model": f"local-dir:{tmp_path / 'moved'}"})
    assert loadable_model(moved).digest == loadable_model(spec).digest
    assert loadable_model(tiny_teachers[1].model_copy(update={"name": spec.name})).digest != loadable_model(spec).digest
