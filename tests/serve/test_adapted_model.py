"""What `mmkd adapt` writes, taken by `mmkd label`, the service, and an archive of the model that it was made of."""

import csv
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from labelled_world import write_pictures, write_table
from PIL import Image
from running import running
from safetensors.numpy import load_file
from typer.testing import CliRunner

from mmkd.adapt.adapt import Request, adapt
from mmkd.adapt.measure import Protocol
from mmkd.cli import app
from mmkd.errors import ConfigError, DataError
from mmkd.inference.model import open_model
from mmkd.serve.computing import Computing
from mmkd.serve.start import licence_in, open_service
from tiny import save_tiny

NAMES = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny/, pictures/, labels.csv, and adapted/ made of them."""
    folder = tmp_path_factory.mktemp("adapted")
    save_tiny(folder / "tiny", 3)
    (folder / "tiny/README.md").write_text('---\nlicense: "other"\nlicense_name: "non-commercial"\n---\n# tiny\n')
    rows = write_pictures(folder / "pictures")
    for number in (5, 13, 21, 29):  # wrong labels: where every picture is right, no temperature is best
        rows[number]["class"] = NAMES[number % 3]
    table = write_table(folder / "labels.csv", rows)
    protocol = Protocol(shots=(None,), seeds=1, folds=2, inner_folds=2)
    adapt(Request(str(folder / "tiny"), table, device="cpu", workers=1, protocol=protocol), folder / "adapted")
    return folder


def expected(place: Path, files: list[Path]) -> np.ndarray:
    """Probabilities by open_clip, NumPy and the files alone."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{place}/adapted")
    with torch.no_grad():
        images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
        vector_ND = model.eval().encode_image(images, normalize=True).numpy()
    facts = json.loads((place / "adapted/classifier.json").read_text())
    logit_NC = vector_ND @ load_file(place / "adapted/classifier.safetensors")["weight"].T / facts["temperature"]
    share_NC = np.exp(logit_NC - logit_NC.max(axis=1, keepdims=True))
    return np.asarray(share_NC / share_NC.sum(axis=1, keepdims=True))


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_label_asks_its_classifier(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    told = call("label", f"{place}/pictures", "--model", f"{place}/adapted", "--out", str(out), "--device", "cpu")
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    probability_NC = expected(place, [place / "pictures" / row["path"] for row in rows])
    found_NC = np.array([[float(row[f"probability:{name}"]) for name in NAMES] for row in rows])
    np.testing.assert_allclose(found_NC, probability_NC, atol=1e-4)
    assert [row["label"] for row in rows] == [NAMES[at] for at in probability_NC.argmax(axis=1)]
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["calibrated"] is True
    assert "on 36 labelled pictures of 3 classes (mmkd adapt)" in facts["calibration"]
    assert facts["calibration"] in told


def test_named_classes_are_zero_shot(place: Path, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "labels.csv"), "--device", "cpu")
    told = call("label", f"{place}/pictures", "--model", f"{place}/adapted", "--classes", "a,b", *out)
    assert "not calibrated" in told


def test_the_table_that_was_learnt_from_calibrates_nothing(place: Path, tmp_path: Path) -> None:
    options = ["--calibrate", f"{place}/labels.csv", "--label", "class", "--device", "cpu"]
    out = ["--out", str(tmp_path / "labels.csv")]
    with pytest.raises(ConfigError, match="was fitted to this table"):
        call("label", f"{place}/pictures", "--model", f"{place}/adapted", *options, *out)


def test_a_classifier_of_other_weights_is_refused(place: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path / "other", 4)
    for name in ("classifier.json", "classifier.safetensors"):
        (tmp_path / "other" / name).write_bytes((place / "adapted" / name).read_bytes())
    with pytest.raises(DataError, match="made with another model"):
        open_service(str(tmp_path / "other"), computing=Computing("cpu", "torch"))


def test_the_service_answers_with_it_and_searches_the_archive_of_its_model(place: Path) -> None:
    """End to end: the archive was made with the model before it was adapted."""
    model = ("--model", f"{place}/tiny", "--device", "cpu")
    call("index", f"{place}/pictures", *model, "--out", f"{place}/archive", "--no-thumbnails")
    assert open_model(f"{place}/tiny", "cpu").digest == open_model(f"{place}/adapted", "cpu").digest
    service = open_service(f"{place}/adapted", archive=f"{place}/archive", computing=Computing("cpu", "torch"))
    (facts,) = service.about().models
    assert (facts.classes, facts.licence) == (NAMES, "non-commercial")
    file = place / "pictures/4.png"
    with running(service) as client:
        told = client.post("/classify", content=file.read_bytes(), headers={"content-type": "image/png"}).json()
        (answer,) = told["answers"]
        scores = {score["name"]: score["probability"] for score in answer["scores"]}
        np.testing.assert_allclose([scores[name] for name in NAMES], expected(place, [file])[0], atol=1e-5)
        assert answer["calibrated"] is True
        assert answer["basis"] == facts.basis
        assert "36 labelled pictures" in answer["basis"]
        hits = client.post("/search", files={"image": file.read_bytes()}, data={"k": "1"}).json()["hits"]
    assert [hit["path"] for hit in hits] == ["4.png"]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: 'permissive'\n---\n# x", "permissive"),
        ("# no front matter\nlicense: mit\n", ""),
        ("", ""),
    ],
)
def test_the_licence_is_that_of_the_card(card: str, licence: str) -> None:
    assert licence_in(card) == licence
