"""MedCLIP: files in the names of transformers 4, against torchvision's Swin and a BERT watched layer by layer."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mmkd.errors import ConfigError, ModelError
from mmkd.teachers.adapters import medclip
from mmkd.teachers.adapters.medclip import GreySquare
from mmkd.teachers.files.layouts import LAYOUTS
from mmkd.teachers.load import load_entry
from mmkd.teachers.zoo.entry import zoo_entry
from published import loaded_teacher, pictures
from published_medclip import (
    CAPTIONS,
    DIM,
    SIDE,
    Published,
    expected_text,
    ids_of,
    normalised,
    small,
    swin_of_transformers_4,
    torchvisions_swin,
    write,
)
from tolerance import assert_rounding


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("medclip"))


def test_images_are_torchvisions_swin(published: Published) -> None:
    with torch.inference_mode():
        expected = torchvisions_swin(published.swin, published.image_projection)(normalised())
    for folder in ("swin", "new"):
        image_BD = loaded_teacher(small(), published.folders[folder]).encode_images(pictures(SIDE))
        assert_rounding(image_BD, F.normalize(expected, dim=1), size=1.0)


def test_images_of_the_other_variant_are_torchvisions_resnet(published: Published) -> None:
    loaded = loaded_teacher(small("resnet50"), published.folders["resnet50"])
    with torch.inference_mode():
        expected = F.normalize(published.resnet.eval()(normalised()), dim=1)
    assert_rounding(loaded.encode_images(pictures(SIDE)), expected, size=1.0)
    texts = loaded_teacher(small(), published.folders["swin"]).encode_texts(CAPTIONS)
    assert_rounding(loaded.encode_texts(CAPTIONS), texts, size=1.0)


def test_captions_go_without_padding_whatever_their_neighbours(published: Published) -> None:
    loaded = loaded_teacher(small(), published.folders["swin"])
    text_BD = loaded.encode_texts(CAPTIONS)
    expected = torch.cat([expected_text(published, ids_of(caption)) for caption in CAPTIONS])
    assert_rounding(text_BD, expected, size=1.0)
    alone_BD = torch.cat([loaded.encode_texts([caption]) for caption in CAPTIONS])
    assert_rounding(text_BD, alone_BD, size=1.0)
    assert [ids_of(caption).shape[1] for caption in CAPTIONS] == [6, 2, 4, 77, 4]


def test_a_batch_of_its_own_package_would_give_other_vectors(published: Published) -> None:
    """There, padding is masked in attention, but averaged over: that is why captions go without here."""
    short = ids_of("no effusion")
    padded_BL = F.pad(short, (0, 6))
    text_BD = loaded_teacher(small(), published.folders["swin"]).encode_texts(["no effusion"])
    theirs_BD = expected_text(published, padded_BL, (padded_BL != 0).long())
    assert (text_BD * theirs_BD).sum() < 0.99


def test_captions_are_lower_case_in_a_vocabulary_with_capitals(published: Published) -> None:
    tokens = load_entry(small(), published.folders["swin"]).tokenizer(["Chest RADIOGRAPH", "chest radiograph"])
    assert tokens.ids_NL[:, :5].tolist() == [[2, 6, 7, 3, 0]] * 2
    assert tokens.ids_NL.shape == (2, 77)


def test_the_grey_square_worked_by_hand() -> None:
    image = Image.new("RGB", (3, 2), (255, 255, 255))
    image.putpixel((0, 0), (255, 0, 0))
    square_HW = np.zeros((6, 6), dtype=np.uint8)
    square_HW[2:4, 1:4] = 255  # one column and two rows before it, two of each behind
    square_HW[2, 1] = 76  # 0.299 of red
    result = np.asarray(GreySquare(6)(image))
    assert np.array_equal(result, np.repeat(square_HW[..., None], 3, axis=2))


@pytest.mark.parametrize("size", [(300, 200), (180, 321), (224, 224), (150, 101), (225, 224), (1, 500)])
def test_the_grey_square_of_any_size(size: tuple[int, int]) -> None:
    """As MedCLIP's own feature extractor does it; its int((side - w) / 2) rounds down."""
    width, height = size
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    grey_HW = np.asarray(Image.fromarray(pixels).convert("L"))
    side = max(224, width, height)
    left, top = int((side - width) / 2), int((side - height) / 2)
    square_HW = np.pad(grey_HW, ((top, side - height - top), (left, side - width - left)))
    expected_HW = np.asarray(Image.fromarray(square_HW).resize((224, 224), Image.Resampling.BICUBIC))
    transform = pickle.loads(pickle.dumps(medclip.ADAPTER.transform(zoo_entry("medclip"))))  # as worker processes do
    pixels_CHW = transform.pixels(Image.fromarray(pixels))
    assert np.array_equal(pixels_CHW.numpy(), np.stack([expected_HW] * 3))
    expected_CHW = (np.stack([expected_HW] * 3) / 255 - 0.5862785803043838) / 0.27950088968644304
    assert_rounding(transform.normalise(pixels_CHW), expected_CHW)


def test_geometries_print_with_their_parameters() -> None:
    assert repr(GreySquare(224)) == "GreySquare(side=224)"
    assert repr(medclip.ADAPTER.transform(small()).geometry) == "GreySquare(side=56)"


def test_the_whole_entry_has_the_published_weights() -> None:
    entry = zoo_entry("medclip")
    with torch.device("meta"):
        network = medclip.build(entry)
        old = {
            f"vision_model.model.{key}": torch.empty(shape)
            for key, shape in swin_of_transformers_4(96, [2, 2, 6, 2], [3, 6, 12, 24])
        }
        old |= {key: value for key, value in network.state_dict().items() if not key.startswith("vision_model.model.")}
        old["text_model.model.embeddings.position_ids"] = torch.empty(1, 512)
    assert len(old) == 434
    assert round(sum(value.numel() for value in old.values()) * 4 / 1e6, 1) == 546.6
    shapes = {key: value.shape for key, value in LAYOUTS[entry.layout](old).items()}
    assert shapes == {key: value.shape for key, value in network.state_dict().items()}
    assert shapes["text_model.model.embeddings.word_embeddings.weight"] == (28996, 768)
    assert shapes["vision_model.projection_head.weight"] == (512, 768)
    assert shapes["text_model.projection_head.weight"] == (512, 768)


def test_the_whole_resnet_variant_is_torchvisions_resnet50() -> None:
    from torchvision.models import resnet50

    with torch.device("meta"):
        network = medclip.build(zoo_entry("medclip", "resnet50"))
        theirs = resnet50()
        theirs.fc = nn.Linear(2048, 512, bias=False)
    shapes = {key: value.shape for key, value in network.vision_model.model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_model.model.layernorm.bias": None}, r"1 weights are missing \(vision_model.model.layernorm.bias\)"),
        (
            {"vision_model.model.encoder.layers.0.blocks.1.output.dense.weight": None},
            r"1 weights are missing \(vision_model.model.encoder.layers.0.blocks.1.mlp.fc2.weight\)",
        ),
        ({"text_model.projection_head.bias": torch.ones(DIM)}, r"1 are not of this model \(text_model.projection_head"),
        ({"vision_model.model.encoder.layers.0.blocks.0.gate.weight": torch.ones(2)}, "1 are not of this model"),
        ({"text_model.projection_head.weight": torch.ones(DIM, 9)}, r"\(20, 9\) instead of \(20, 32\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    published: Published, tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    state = {**published.state, **change}
    write(tmp_path, {key: value for key, value in state.items() if value is not None})
    with pytest.raises(ModelError, match=message):
        load_entry(small(), tmp_path)


def test_one_variants_file_is_not_taken_for_the_other(published: Published) -> None:
    for variant, folder in ((None, "resnet50"), ("resnet50", "swin")):
        with pytest.raises(ModelError, match=r"weights are missing .* are not of this model .*another variant"):
            load_entry(small(variant), published.folders[folder])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"padding": "longest"}, "padding is 'longest'; MedCLIP averages over it: set 'none'"),
        ({"config": {"tower": "vit"}}, "'vit'"),
        ({"config": {"swin": {"window": 7}}}, "unknown key 'swin.window'; did you mean 'window_size'"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused(published: Published, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_entry(small(**changes), published.folders["swin"])


def test_another_models_vocabulary_is_refused(published: Published, tmp_path: Path) -> None:
    write(tmp_path, published.state)
    with pytest.raises(
        ModelError, match=r"12 words, \[CLS\] is number 2; 'medclip' was trained with at most 12, .*101"
    ):
        load_entry(small(config={"cls_id": 101}), tmp_path)
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="not a readable vocabulary"):
        load_entry(small(), tmp_path)


def test_weights_that_must_be_fetched_by_hand_are_named() -> None:
    for variant, archive in ((None, "medclip-vit-pretrained.zip"), ("resnet50", "medclip-pretrained.zip")):
        with pytest.raises(ModelError, match=rf"pytorch_model.bin.*https://storage.googleapis.com/pytrial/{archive}"):
            load_entry(zoo_entry("medclip", variant))
