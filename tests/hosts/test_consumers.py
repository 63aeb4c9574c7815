"""One exported folder, opened unmodified by open_clip, transformers, ONNX Runtime, and read as Immich reads it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import open_clip
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from tokenizers import Tokenizer
from transformers import BertConfig

from mmkd.inference.model import open_model
from mmkd.phantom.write import write_tokenizer
from mmkd.teachers.files.open_clip_folder import build, save

pytestmark = pytest.mark.slow  # PyTorch's exporter takes seconds a tower

TEXTS = ["a chest x-ray", "no finding", "drusen of the eye", ""]
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
CLIP = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}


def bert(folder: Path) -> dict[str, Any]:
    write_tokenizer(folder, TEXTS * 3, vocab_size=120, lowercase=True)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    BertConfig(vocab_size=120, max_position_embeddings=40, **sizes).save_pretrained(folder)
    names = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    return {**names, "context_length": 16, "hf_proj_type": "linear"}


def config(name: str, folder: Path) -> dict[str, Any]:
    if name == "clip":
        return {"vision_cfg": VISION, "text_cfg": CLIP}
    text = bert(folder / "bert")
    if name == "bert":
        return {"vision_cfg": VISION, "text_cfg": {**text, "hf_pooler_type": "cls_last_hidden_state_pooler"}}
    no_counterpart = {**VISION, "no_ln_pre": True}
    return {"vision_cfg": no_counterpart, "text_cfg": {**text, "hf_pooler_type": "mean_pooler"}}


EXPORT_ALL = """
import sys
from mmkd import cli
for place in sys.argv[1:]:
    sys.argv = ["mmkd", "export", f"{place}/distill", "--out", f"{place}/export"]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
    print("--- next")
"""
NAMES = ("clip", "bert", "no counterpart")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the command line exports of students with large random weights; one transformers has no counterpart of."""
    home = tmp_path_factory.mktemp("consumers")
    for name in NAMES:
        (home / name).mkdir()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = build({"embed_dim": 16, **config(name, home / name)}, {"resize_mode": "shortest"})
            with torch.no_grad():
                for weight in model.network.parameters():
                    weight.add_(0.1 * torch.randn_like(weight))
        save(model, home / name / "distill")
    command = [sys.executable, "-c", EXPORT_ALL, *(str(home / name) for name in NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    left_out = "the whole format is left out: not written for transformers: its image tower has no normalisation"
    said = [left_out in part for part in done.stdout.split("--- next\n")[:-1]]
    assert said == [name == "no counterpart" for name in NAMES]
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module", params=NAMES)
def folder(request: pytest.FixtureRequest, exports: Path) -> Path:
    return exports / str(request.param) / "export"


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for w, h in ((32, 32), (47, 80), (90, 33))]


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of the student itself, by plain open_clip from its training folder."""
    name = f"local-dir:{folder.parent / 'distill'}"
    network, transform = open_clip.create_model_from_pretrained(name)
    tokenizer = open_clip.get_tokenizer(name)
    with torch.inference_mode():
        image_ND = F.normalize(network.eval().encode_image(torch.stack([transform(i) for i in pictures()])), dim=1)
        text_TD = F.normalize(network.encode_text(tokenizer(TEXTS)), dim=1)
    return image_ND.numpy(), text_TD.numpy()


def test_open_clip(folder: Path, expected: tuple[np.ndarray, np.ndarray]) -> None:
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        images = F.normalize(network.eval().encode_image(torch.stack([transform(i) for i in pictures()])), dim=1)
        texts = F.normalize(network.encode_text(tokenizer(TEXTS)), dim=1)
    np.testing.assert_allclose(images, expected[0], atol=1e-6)
    np.testing.assert_allclose(texts, expected[1], atol=1e-6)


def test_transformers(folder: Path, expected: tuple[np.ndarray, np.ndarray]) -> None:
    if not (folder / "model.safetensors").exists():
        pytest.skip("this student has no counterpart in transformers, which the export says")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    found = processor(text=TEXTS, images=pictures()[:1], padding=True, return_tensors="pt")
    with torch.inference_mode():
        output = model(**found)
    np.testing.assert_allclose(output.text_embeds, expected[1], atol=1e-5)
    np.testing.assert_allclose(output.image_embeds, expected[0][:1], atol=1e-5)  # of the model's size, so not resized


def test_onnx_runtime_in_mmkd(folder: Path, expected: tuple[np.ndarray, np.ndarray]) -> None:
    model, student = open_model(str(folder), backend="onnx"), open_model(str(folder), "cpu")
    np.testing.assert_allclose(model.encode_images(pictures()), expected[0], atol=1e-5)
    np.testing.assert_allclose(model.encode_texts(TEXTS), expected[1], atol=1e-5)
    assert model.scale == pytest.approx(student.scale)
    assert model.digest == student.digest  # an archive made with one is searched with the other
    small = open_model(str(folder), backend="onnx", precision="int8")
    assert small.digest != model.digest
    for found, whole in ((small.encode_images(pictures()), expected[0]), (small.encode_texts(TEXTS), expected[1])):
        cosine = (found * whole).sum(axis=1)
        assert 0.98 < cosine.min() < 1 - 1e-7


def test_as_immich_reads_it(folder: Path, expected: tuple[np.ndarray, np.ndarray]) -> None:
    """Its code finds the length in `config.json`, pads to it with the tokenizer's own token, and feeds int32."""
    length = json.loads((folder / "config.json").read_text())["text_cfg"].get("context_length", 77)
    token = json.loads((folder / "textual/tokenizer_config.json").read_text())["pad_token"]
    tokenizer = Tokenizer.from_file(str(folder / "textual/tokenizer.json"))
    tokenizer.enable_padding(length=length, pad_token=token, pad_id=tokenizer.token_to_id(token))
    tokenizer.enable_truncation(max_length=length)
    session = onnxruntime.InferenceSession(folder / "textual/model.onnx")
    for text, vector in zip(TEXTS, expected[1], strict=True):
        ids = np.array([tokenizer.encode(text).ids], np.int32)
        np.testing.assert_allclose(session.run(None, {"text": ids})[0][0], vector, atol=1e-5)
    settings = json.loads((folder / "visual/preprocess_cfg.json").read_text())
    assert {"size", "mean", "std", "interpolation"} <= settings.keys()
    image = np.asarray(pictures()[0], np.float32) / 255
    prepared = (image - np.float32(settings["mean"])) / np.float32(settings["std"])
    visual = onnxruntime.InferenceSession(folder / "visual/model.onnx")
    found = visual.run(None, {"image": prepared.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]
    np.testing.assert_allclose(found, expected[0][0], atol=1e-5)


def test_no_file_tells_where_it_was_made(folder: Path) -> None:
    told = b"site-packages", str(folder.parent).encode()
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "open_clip_config.json":  # open_clip wants a BERT's absolute path
            assert not any(word in path.read_bytes() for word in told), path
