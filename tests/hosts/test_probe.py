"""`mmkd export --probe`: one file that ONNX Runtime, PyTorch alone and OpenCV (so QuPath) answer from as mmkd does."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hosts_python import needs_hosts, run_in_hosts
from typer.testing import CliRunner

from mmkd.adapt.classifier import Classifier, Facts
from mmkd.adapt.probe import write_probe
from mmkd.cli import make_app
from mmkd.errors import ConfigError, DataError
from mmkd.inference.model import Model
from mmkd.inference.onnx import onnx_digest
from mmkd.statistics.metrics import Array
from mmkd.teachers.files.identity import model_digest

pytestmark = pytest.mark.slow  # PyTorch's exporter takes seconds
CLASSES = ["tumour", "stroma", "fat"]


@pytest.fixture(scope="module")
def adapted(host_export: Path, host_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe") / "adapted"
    shutil.copytree(host_export, folder)
    known = {"prompts": [[name] for name in CLASSES], "method": "LP++", "setting": "", "source": "", "model": "m"}
    rest = {
        "model_digest": model_digest(folder),
        "onnx_digest": onnx_digest(folder),
        "dim": host_model.dim,
        "gain": {},
        "data": {},
    }
    weight_CD = 30 * np.random.default_rng(0).normal(size=(3, host_model.dim)).astype(np.float32)
    Classifier(Facts(classes=CLASSES, temperature=1.7, **known, **rest), weight_CD).save(folder)
    return folder


@pytest.fixture(scope="module")
def pictures() -> Array:
    """RGB, of the model's size."""
    return np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def wanted(adapted: Path, host_model: Model, pictures: Array) -> Array:
    """By hand from the vectors."""
    classifier = Classifier.load(adapted)
    logit_NC = host_model.encode_prepared(pictures.transpose(0, 3, 1, 2)) @ classifier.weight_CD.T / 1.7
    found = torch.softmax(torch.from_numpy(logit_NC), dim=1).numpy()
    assert found.max(axis=1).mean() > 0.5  # so a probe that ignores its input or the temperature fails
    return found


@pytest.fixture(scope="module")
def onnx_file(adapted: Path) -> Path:
    out = adapted.parent / "probe.onnx"
    done = CliRunner().invoke(make_app(), ["export", str(adapted), "--probe", str(out)])
    assert done.exit_code == 0, done.output
    return out


def test_onnx_runtime_answers_as_mmkd_does(onnx_file: Path, pictures: Array, wanted: Array) -> None:
    session = onnxruntime.InferenceSession(onnx_file)
    image_NCHW = pictures.transpose(0, 3, 1, 2).astype(np.float32)
    found = [session.run(["probability"], {"image": one[None]})[0][0] for one in image_NCHW]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    facts = json.loads(onnx_file.with_suffix(".json").read_text())
    assert (facts["classes"], facts["width"], facts["height"]) == (CLASSES, 32, 32)


def test_torch_script_answers_as_mmkd_does(adapted: Path, pictures: Array, wanted: Array) -> None:
    out = adapted.parent / "probe.pt"
    assert write_probe(adapted, out) < 1e-5
    with pytest.warns(FutureWarning, match="torch.jit"):
        probe = torch.jit.load(out)  # type: ignore[no-untyped-call]
    images = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.inference_mode():
        found = torch.cat([probe(one[None]) for one in images])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@needs_hosts
def test_open_cv_answers_as_mmkd_does(onnx_file: Path, pictures: Array, wanted: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", pictures)
    run_in_hosts(tmp_path, "opencv_answers.py", onnx_file, tmp_path / "pictures.npy", tmp_path / "found.npy")
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), wanted, atol=1e-5)


def test_what_is_no_probe_is_refused(adapted: Path, host_export: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.onnx or \.pt"):
        write_probe(adapted, tmp_path / "probe.txt")
    with pytest.raises(DataError, match=r"no classifier\.json found"):
        write_probe(host_export, tmp_path / "probe.onnx")
    done = CliRunner().invoke(make_app(), ["export", str(adapted), "--probe", "p.onnx", "--to", "onnx"])
    assert done.exit_code != 0
    assert not list(tmp_path.iterdir())
