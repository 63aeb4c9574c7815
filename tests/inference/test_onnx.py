"""A model in ONNX Runtime, against the same arithmetic in numpy."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import COLOUR_3D, CONTEXT, DIM, SIDE, WORD_VD, WORDS, write_tiny_onnx

from mmkd.archive.archive import Archive
from mmkd.commands.index import index
from mmkd.errors import ConfigError, ModelError
from mmkd.folders.digests import file_digest
from mmkd.inference.model import absolute, named_folder, open_model
from mmkd.inference.onnx import OnnxModel, has_onnx


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_onnx(tmp_path_factory.mktemp("onnx") / "tiny")


def unit(value_ND: np.ndarray) -> np.ndarray:
    return value_ND / np.linalg.norm(value_ND, axis=1, keepdims=True)


def colours(count: int) -> list[Image.Image]:
    shades = np.random.default_rng(3).integers(0, 256, (count, 3))
    return [Image.new("RGB", (SIDE + n % 5, SIDE), tuple(map(int, shade))) for n, shade in enumerate(shades)]


def test_pictures_in_batches_and_one_by_one(folder: Path) -> None:
    model, images = OnnxModel(folder), colours(70)
    shade_N3 = np.array([image.getpixel((0, 0)) for image in images]) / 255
    expected = unit((shade_N3 - 0.5) / 0.25 @ COLOUR_3D)
    np.testing.assert_allclose(model.encode_images(images), expected, atol=1e-5)
    alone = model.encode_prepared(model.prepare(images[5])[None])
    np.testing.assert_allclose(alone, expected[5:6], atol=1e-5)
    assert model.encode_images([]).shape == (0, DIM)


def test_texts_of_all_lengths_keep_their_order(folder: Path) -> None:
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(["Lung", "heart", "EYE"], rng.integers(1, 9))) for _ in range(150)]
    expected = [
        sum(WORD_VD[WORDS[word]] for word in text.lower().split()[:CONTEXT]) for text in texts
    ]  # longer texts are cut
    found = OnnxModel(folder).encode_texts(texts)
    np.testing.assert_allclose(found, unit(np.array(expected)), atol=1e-5)
    assert OnnxModel(folder).encode_texts([]).shape == (0, DIM)


def test_several_threads_share_one_model(folder: Path) -> None:
    model, images = OnnxModel(folder, threads=1), colours(40)
    expected = model.encode_images(images)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda image: model.encode_images([image])[0], images))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_digest_follows_the_files(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    assert OnnxModel(tmp_path / "moved").digest == OnnxModel(folder).digest
    facts = json.loads((folder / "onnx.json").read_text())
    (tmp_path / "moved/onnx.json").write_text(json.dumps({**facts, "scale": 11.0}))
    assert OnnxModel(tmp_path / "moved").digest != OnnxModel(folder).digest


def test_a_model_file_that_was_exchanged_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    digests = {name: file_digest(folder / name) for name in ("visual/model.onnx", "textual/model.onnx")}
    facts = json.loads((folder / "onnx.json").read_text()) | {"source": "s", "files": digests}
    (tmp_path / "other/onnx.json").write_text(json.dumps(facts))
    assert OnnxModel(tmp_path / "other").digest == "s"  # that of the model whose vectors it gives
    shutil.copyfile(folder / "textual/model.onnx", tmp_path / "other/visual/model.onnx")
    with pytest.raises(ModelError, match=r"visual/model\.onnx: not the file that was exported"):
        OnnxModel(tmp_path / "other")
    (tmp_path / "other/onnx.json").write_text(json.dumps(facts | {"files": {"../secret": "0"}}))
    with pytest.raises(ModelError, match=r"no model file is called '\.\./secret'"):
        OnnxModel(tmp_path / "other")


def test_the_backend_is_chosen(folder: Path, tmp_path: Path) -> None:
    assert has_onnx(folder)
    assert not has_onnx(tmp_path)
    assert isinstance(open_model(str(folder), "cpu", backend="auto"), OnnxModel)
    named = open_model(f"mine={folder}", backend="onnx")
    assert (named.name, named.dim, named.scale) == ("mine", DIM, 10.0)
    with pytest.raises(ModelError, match=r"open_clip_config\.json"):
        open_model(str(folder), "cpu")  # PyTorch, whose files are not there
    with pytest.raises(ConfigError, match="is no folder"):
        open_model("plip", backend="onnx")


def test_a_folder_is_found_whatever_signs_its_path_has(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "size=96"
    shutil.copytree(folder, odd)
    assert named_folder(str(odd)) == named_folder(f"local-dir:{odd}") == ("", odd)
    assert named_folder(f"mine={odd}") == named_folder(f"mine=local-dir:{odd}") == ("mine", odd)
    assert named_folder("plip") == ("", None)
    assert isinstance(open_model(str(odd), "cpu", backend="auto"), OnnxModel)


def test_a_prefix_names_the_files_with_8_bit_weights_at_every_door(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tmp_path / "made" / "student"
    shutil.copytree(folder, student)
    for part in ("visual", "textual"):
        shutil.copyfile(folder / part / "model.onnx", student / part / "model.int8.onnx")
    monkeypatch.chdir(tmp_path / "made")
    exact, bits = open_model("onnx:student"), open_model("mine=int8:student")
    assert isinstance(exact, OnnxModel)
    assert isinstance(bits, OnnxModel)
    assert bits.name == "mine"
    assert bits.digest == OnnxModel(student, precision="int8").digest != exact.digest == OnnxModel(student).digest
    assert named_folder("mine=int8:local-dir:student") == ("mine", Path("student"))
    assert absolute("mine=int8:student") == f"mine=int8:{student}"
    assert absolute("student") == str(student)
    assert absolute("int8:none") == "int8:none"
    with pytest.raises(ConfigError, match="no folder"):
        open_model("int8:none")
    Image.new("RGB", (9, 9), "red").save(tmp_path / "made" / "red.png")
    index(Path("red.png"), out=str(tmp_path / "archive"), model="int8:student")
    monkeypatch.chdir(tmp_path)
    archive = Archive.open(tmp_path / "archive")
    assert archive.model().digest == bits.digest
    with pytest.raises(ConfigError, match="another archive"):
        archive.model(f"onnx:{student}")
    shutil.move(student, tmp_path / "moved")
    with pytest.raises(ConfigError, match="no longer at"):
        archive.model()


def test_it_starts_without_pytorch(folder: Path) -> None:
    code = (
        "import sys; from mmkd.inference.model import named_folder, open_model\n"
        f"model = open_model({str(folder)!r}, backend='onnx'); model.encode_texts(['lung'])\n"
        "print([name for name in ('torch', 'transformers', 'open_clip') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "onnx.json").unlink(), "no onnx.json found"),
        (lambda folder: (folder / "onnx.json").write_text("{}"), "not what 'mmkd export' writes"),
        (lambda folder: (folder / "onnx.json").write_text("no JSON"), "not what 'mmkd export' writes"),
        (lambda folder: (folder / "visual/model.onnx").unlink(), "export it again"),
        (lambda folder: (folder / "visual/model.onnx").write_bytes(b"none"), "does not load"),
        (lambda folder: (folder / "textual/tokenizer.json").write_text("[]"), "does not load"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(folder: Path, tmp_path: Path, change: object, message: str) -> None:
    shutil.copytree(folder, tmp_path / "damaged")
    change(tmp_path / "damaged")  # type: ignore[operator]
    with pytest.raises(ModelError, match=message):
        OnnxModel(tmp_path / "damaged")


def test_other_precisions_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="fp32 or int8"):
        OnnxModel(folder, precision="fp16")
    with pytest.raises(ModelError, match=r"model\.int8\.onnx"):
        OnnxModel(folder, precision="int8")
