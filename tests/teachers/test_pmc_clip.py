"""PMC-CLIP: both published readings of its weights, from both published forms, against the definition written out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from mmkd.errors import ConfigError, ModelError
from mmkd.teachers.adapters import pmc_clip
from mmkd.teachers.load import load_entry
from mmkd.teachers.zoo.entry import zoo_entry
from mmkd.teachers.zoo.settings import TeacherSpec
from published import loaded_teacher, pictures
from published_pmc_clip import (
    CAPTIONS,
    DIM,
    HIDDEN,
    SIDE,
    SPLIT,
    WORDS,
    Published,
    expected_images,
    expected_texts,
    padded_ids,
    published_shapes,
    small,
)
from tolerance import assert_rounding


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return Published(tmp_path_factory.mktemp("pmc-clip"))


@pytest.mark.parametrize(("variant", "heads", "pooling"), [(None, 32, "cls"), ("quickstart", 8, "pooler")])
@pytest.mark.parametrize("form", ["whole", "split"])
def test_both_forms_give_the_vectors_of_the_definition(
    published: Published, form: str, variant: str | None, heads: int, pooling: str
) -> None:
    loaded = loaded_teacher(small(variant), getattr(published, form))
    image, text = loaded.encode_images(pictures(SIDE)), loaded.encode_texts(CAPTIONS)
    assert_rounding(image, expected_images(published.visual, pictures(SIDE), heads), size=1.0)
    assert_rounding(text, expected_texts(published, pooling), size=1.0)


def test_the_readings_differ_in_both_towers(published: Published) -> None:
    faithful, quickstart = (loaded_teacher(small(variant), published.whole) for variant in (None, "quickstart"))
    assert (faithful.encode_images(pictures(SIDE)) - quickstart.encode_images(pictures(SIDE))).abs().max() > 1e-3
    assert (faithful.encode_texts(CAPTIONS) - quickstart.encode_texts(CAPTIONS)).abs().max() > 1e-2


def test_padding_is_attended(published: Published) -> None:
    """A masked tower, or padding to another length, would give other vectors; neighbours change nothing."""
    loaded = loaded_teacher(small(), published.whole)
    text_BD = loaded.encode_texts(CAPTIONS)
    ids_BL = padded_ids()
    with torch.inference_mode():
        for tokens in ({"input_ids": ids_BL, "attention_mask": (ids_BL != 0).long()}, {"input_ids": ids_BL[:3, :40]}):
            state_BW = published.bert(**tokens).last_hidden_state[:3, 0]
            other_BD = F.normalize(state_BW @ published.projection, dim=1)
            assert ((other_BD - text_BD[:3]).abs().amax(dim=1) > 1e-3).all()  # a hundred times the tolerance
    alone_BD = torch.cat([loaded.encode_texts([caption]) for caption in CAPTIONS])
    assert_rounding(text_BD, alone_BD, size=1.0)


def test_the_image_is_resized_to_its_shorter_side_and_cropped(published: Published) -> None:
    loaded = loaded_teacher(small(), published.whole)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8))
    resized = image.resize((96, 64), Image.Resampling.BICUBIC).crop((16, 0, 80, 64))
    assert np.array_equal(loaded.transform.pixels(image).permute(1, 2, 0).numpy(), np.asarray(resized))


def test_the_whole_entry_has_the_published_weights() -> None:
    with torch.device("meta"):
        network = pmc_clip.build(zoo_entry("pmc-clip"))
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    visual = {key.removeprefix("visual."): shape for key, shape in shapes.items() if key.startswith("visual.")}
    assert visual == dict(published_shapes((3, 4, 6, 3), 64, 768, 224))
    assert len(visual) == 339
    numbers = sum(value.numel() * value.element_size() for value in network.visual.state_dict().values())
    assert round(numbers / 1e6, 1) == 151.4
    assert shapes["text_projection"] == (768, 768)
    assert shapes["text_encoder.embeddings.word_embeddings.weight"] == (30522, 768)
    assert network.visual.attnpool.num_heads == 32


def test_the_default_is_the_training_codes_reading_and_says_why() -> None:
    entry, quickstart = zoo_entry("pmc-clip"), zoo_entry("pmc-clip", "quickstart")
    assert (entry.config["heads"], entry.config["pooling"]) == (32, "cls")
    assert (quickstart.config["heads"], quickstart.config["pooling"]) == (8, "pooler")
    assert entry.text is not None
    assert quickstart.text is not None
    assert entry.text.repo.endswith("-abstract-fulltext")
    assert quickstart.text.repo.endswith("-abstract")
    assert entry.variant_names == ["train-faithful", "quickstart"]
    assert "training code" in entry.default_reason
    assert "notebook" in entry.variants["quickstart"].reason
    assert TeacherSpec(name="pmc-clip", variant="quickstart").model_dump()["variant"] == "quickstart"  # type: ignore[call-arg]
    with pytest.raises((ConfigError, ValidationError), match="no variant 'fast'; it has train-faithful, quickstart"):
        TeacherSpec(name="pmc-clip", variant="fast")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"heads": 8}}, "heads 8 with pooling 'cls', which nobody published; expected heads 8 with pooling"),
        ({"config": {"pooling": "pooler"}}, "heads 32 with pooling 'pooler', which nobody published"),
        ({"config": {"heads": 16}}, "heads 16 with pooling 'cls', which nobody published"),
        ({"config": {"pooling": "mean"}}, "'mean'"),
        ({"config": {"head": 8}}, "unknown key 'head'; did you mean 'heads'"),
        ({"padding": "longest"}, "padding is 'longest'; PMC-CLIP attends to it: set 'full'"),
    ],
)
def test_no_other_reading_is_built(published: Published, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_entry(small(**changes), published.whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visual.conv2.weight": None}, r"1 weights are missing \(visual.conv2.weight\)"),
        ({"text_encoder.pooler.dense.bias": None}, r"1 weights are missing \(text_encoder.pooler.dense.bias\)"),
        ({"visual.bn1.num_batches_tracked": None}, "1 weights are missing"),
        ({"fusion_gate": torch.ones(2)}, r"1 are not of this model \(fusion_gate\)"),
        ({"visual.ln_final.weight": torch.ones(2)}, "1 are not of this model"),
        ({"text_projection": torch.ones(DIM, HIDDEN)}, r"text_projection \(24, 32\) instead of \(32, 24\)"),
        ({"visual.attnpool.positional_embedding": torch.ones(50, 256)}, r"\(50, 256\) instead of \(5, 256\)"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    published: Published, tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    state = {**published.state, **change}
    published.write({key: value for key, value in state.items() if value is not None}, tmp_path)
    with pytest.raises(ModelError, match=message):
        load_entry(small(), tmp_path)


def test_a_projection_that_is_a_layer_is_refused(published: Published, tmp_path: Path) -> None:
    for path in published.split.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({"weight": published.projection}, tmp_path / SPLIT[2])
    with pytest.raises(ModelError, match="expected one tensor and no more, found weight"):
        load_entry(small(), tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["[PAD]", "[CLS]", "[SEP]", "[UNK]"], r"\[CLS\] is number 1; 'pmc-clip' was trained with at most 12"),
        ([*WORDS, "spare"], "13 words"),
        (["chest"], r"\[CLS\] is number None"),
    ],
)
def test_another_models_vocabulary_is_refused(
    published: Published, tmp_path: Path, words: list[str], message: str
) -> None:
    published.write(published.state, tmp_path)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "vocab.txt").write_text("\n".join(words))
    with pytest.raises(ModelError, match=message):
        load_entry(small(), tmp_path)
