"""mmkd from Python: the numbers are open_clip's, the tables are the run's, and what is wrong is refused."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import mmkd
from mmkd.api.model import LoadedModel
from mmkd.api.runs import RunFolder
from mmkd.errors import ConfigError, DataError
from mmkd.pipeline.table import STAGES
from tiny import recipe_of, save_tiny, write_noise

matplotlib.use("agg")
NAMES = ["a round shadow", "a bright line"]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "export"
    return save_tiny(folder)


@pytest.fixture(scope="module")
def model(export: Path) -> LoadedModel:
    return mmkd.load(export, device="cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_noise(tmp_path_factory.mktemp("images"), 5, 0)


def test_vectors_are_open_clips(model: LoadedModel, export: Path, images: list[Path]) -> None:
    network, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{export}")
    tokens = open_clip.get_tokenizer(f"local-dir:{export}")(NAMES)
    with torch.inference_mode():
        pixels = torch.stack([preprocess(Image.open(path)) for path in images])
        image_ND = network.eval().encode_image(pixels, normalize=True).numpy()
        text_TD = network.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(model.embed_images(images), image_ND, atol=1e-5)
    np.testing.assert_allclose(model.embed_texts(NAMES), text_TD, atol=1e-5)
    scale = float(network.logit_scale.detach().exp())
    logit_NC = scale * image_ND.astype(float) @ text_TD.T
    share_NC = np.exp(logit_NC) / np.exp(logit_NC).sum(axis=1, keepdims=True)
    table = model.classify(images, NAMES)
    np.testing.assert_allclose(table[[f"probability:{name}" for name in NAMES]], share_NC, atol=1e-4)
    assert list(table["label"]) == [NAMES[place] for place in share_NC.argmax(axis=1)]


def test_every_form_of_a_picture_gives_the_same_vector(model: LoadedModel, images: list[Path]) -> None:
    picture = Image.open(images[0])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    forms = [images[0], str(images[0]), buffer.getvalue(), picture, np.asarray(picture)]
    found = model.embed_images(forms)
    np.testing.assert_allclose(found, np.repeat(found[:1], len(forms), axis=0), atol=1e-6)
    np.testing.assert_allclose(model.embed_images(images[0]), found[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), "float64 of shape"),
        (np.zeros((4, 4, 4), np.uint8), "expected uint8 from 0 to 255"),
        (b"no picture", "image 0: cannot be read"),
        (3, "found int; expected a path"),
        ("not/there.png", "no such file"),
    ],
)
def test_what_is_no_picture_is_refused(model: LoadedModel, image: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.embed_images([image])


def test_search_finds_the_picture_itself(model: LoadedModel, images: list[Path], tmp_path: Path) -> None:
    model.index(images[0].parent, tmp_path / "archive")
    found = model.search(tmp_path / "archive", image=images[3], k=2)
    assert found["id"][0] == "3.png"
    assert found["score"][0] == pytest.approx(1, abs=1e-5)
    cosine_N = model.embed_images(images) @ model.embed_texts("a line")[0]
    best = model.search(tmp_path / "archive", "a line", k=5)
    np.testing.assert_allclose(best["score"], np.sort(cosine_N)[::-1], atol=1e-5)
    none = model.search(tmp_path / "archive", "a line", where="modality = 'mri'")
    assert len(none) == 0
    assert list(none.columns) == list(best.columns)
    with pytest.raises(ConfigError, match="either a text or image"):
        model.search(tmp_path / "archive")


@pytest.mark.slow
def test_an_adapted_model_classifies_by_its_own_classifier(
    model: LoadedModel, images: list[Path], tmp_path: Path
) -> None:
    draw, rows = np.random.default_rng(1), ["image,label"]
    for place in range(16):
        pixels = draw.integers(0, 100, (32, 32, 3), dtype=np.uint8) + np.uint8(100 * (place % 2))
        Image.fromarray(pixels).save(tmp_path / f"{place:02d}.png")
        rows.append(f"{place:02d}.png,{'bright' if place % 2 else 'dark'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    adapted = model.adapt(tmp_path / "labels.csv", tmp_path / "adapted", prompt="a {} picture")
    gains = adapted.gains()
    assert list(gains["labels a class"]) == ["1", "4", "16", "all"]
    np.testing.assert_allclose(gains["gain"], gains["adapted"] - gains["zero-shot"], atol=1e-9)
    assert (gains["low"] <= gains["gain"]).all()
    assert (gains["gain"] <= gains["high"]).all()
    assert "verdict" in adapted._repr_html_()
    again = model.adapt(tmp_path / "labels.csv", tmp_path / "adapted", prompt="a {} picture")  # finished: is skipped
    assert again.gains().equals(gains)
    weights = load_file(tmp_path / "adapted/classifier.safetensors")["weight"]
    temperature = json.loads((tmp_path / "adapted/classifier.json").read_text())["temperature"]
    logit_NC = model.embed_images(images) @ weights.T / temperature
    share_NC = np.exp(logit_NC) / np.exp(logit_NC).sum(axis=1, keepdims=True)
    table = adapted.model("cpu").classify(images)
    np.testing.assert_allclose(table[["probability:bright", "probability:dark"]], share_NC, atol=1e-5)
    with pytest.raises(ConfigError, match="no classifier in it"):
        model.classify(images)


def test_an_export_is_the_model(model: LoadedModel, images: list[Path], tmp_path: Path) -> None:
    found = mmkd.load(model.export(tmp_path / "out", to=["open_clip"]), device="cpu")
    np.testing.assert_allclose(found.embed_images(images), model.embed_images(images), atol=1e-6)
    with pytest.raises(ConfigError, match="open_clip"):
        model.export(tmp_path / "other", to=["openclip"])


def test_the_stages_are_those_of_the_table() -> None:
    assert dir(mmkd.stages) == sorted(STAGES)
    for name, spec in STAGES.items():
        assert spec.help in (getattr(mmkd.stages, name).__doc__ or "")
    with pytest.raises(AttributeError, match="did you mean 'curate'"):
        _ = mmkd.stages.curates


def test_a_stage_runs_with_changes(tiny_world: Path, tmp_path: Path) -> None:
    teacher = '[[teachers]]\nname = "a"\nmodel = "local-dir:nowhere"\nlicence = "MIT"\n'
    config = f'{teacher}[student]\nmodel = "ViT-B-16"\n[evaluate]\ncards = ["set.toml"]\n'
    recipe = tmp_path / "my.toml"
    recipe.write_text(recipe_of(config, str(tiny_world / "pairs" / "pairs.csv")))
    found = mmkd.stages.curate(recipe, tmp_path / "run", curate={"val": 0.25})
    assert json.loads((found.folder / "corpus/manifest.json").read_text())["settings"]["val"] == 0.25
    assert list(found.finished()["folder"]) == ["corpus"]
    assert "corpus" in found._repr_html_()
    assert mmkd.open_run(tmp_path / "run") == found
    with pytest.raises(ConfigError, match="did you mean 'val'"):
        mmkd.stages.curate(recipe, tmp_path / "other", curate={"vall": 0.25})
    with pytest.raises(DataError, match="no run found"):
        mmkd.open_run(tmp_path)


def test_results_are_those_of_the_file(tmp_path: Path) -> None:
    common = {"task": "zero_shot", "metric": "accuracy", "n": 9, "seed": 0, "protocol": "", "subset": "all"}
    rows = [
        {"model": name, "dataset": "mean", "modality": "mean", "value": value, "low": value - 0.1, "high": value + 0.05}
        for name, value in {"student": 0.75, "one": 0.5}.items()
    ]
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate/results.jsonl").write_text("\n".join(json.dumps({**common, **row}) for row in rows))
    folder = RunFolder(tmp_path)
    assert list(folder.results()["value"]) == [0.75, 0.5]
    axes = folder.plot_results()
    drawn: Any = axes.containers[0]
    [line] = drawn.lines[:1]
    assert list(line.get_xdata()) == [0.5, 0.75]
    with pytest.raises(DataError, match="no results of retrieval"):
        folder.plot_results("retrieval")


def test_importing_mmkd_loads_nothing_else() -> None:
    code = "import sys, mmkd; print([m for m in sys.modules if m.startswith('mmkd.') or m in ('torch', 'pandas')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
