"""From a table to a folder that opens as a model and as a classifier, with a page that says what was won."""

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled_world import Rows, write_pictures, write_table
from PIL import Image
from typer.testing import CliRunner

from mmkd.adapt.adapt import Request, adapt
from mmkd.adapt.classifier import Classifier
from mmkd.adapt.lora import ImageTower, LoraSettings
from mmkd.adapt.measure import Protocol
from mmkd.cli import make_app
from mmkd.errors import ConfigError, DataError, StaleError
from mmkd.inference.embed import embed
from mmkd.inference.model import open_model
from mmkd.serve.start import Computing, open_service
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import save
from tiny import save_tiny, tiny_config

FAST = Protocol(shots=(1, None), seeds=1, folds=2, inner_folds=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_tiny(folder, 3)
    (folder / "README.md").write_text("# tiny\n\nIts card.\n")
    return str(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Rows]:
    folder = tmp_path_factory.mktemp("world")
    return folder, write_pictures(folder / "pictures")


@pytest.fixture(scope="module")
def request_(model: str, world: tuple[Path, Rows]) -> Request:
    folder, rows = world
    return Request(model, write_table(folder / "labels.csv", rows), device="cpu", workers=1, protocol=FAST)


def test_the_folder_is_the_model_with_a_classifier(request_: Request, model: str, tmp_path: Path) -> None:
    found = adapt(request_, tmp_path / "out")
    assert found is not None
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.classes == ["blue", "green", "red"]
    assert classifier.facts.prompts == [["blue"], ["green"], ["red"]]
    assert classifier.facts.data["labels"] == {"blue": 12, "green": 12, "red": 12}
    opened, before = open_model(str(tmp_path / "out"), "cpu"), open_model(model, "cpu")
    assert opened.digest == before.digest  # so that archives of the one take the other
    pixels = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), np.uint8)
    vector_ND = opened.encode_prepared(pixels)
    np.testing.assert_array_equal(vector_ND, before.encode_prepared(pixels))
    probability_NC = classifier.probabilities(vector_ND)
    logit_NC = (vector_ND @ classifier.weight_CD.T).astype(np.float64) / classifier.facts.temperature
    np.testing.assert_allclose(probability_NC, np.exp(logit_NC) / np.exp(logit_NC).sum(axis=1, keepdims=True))
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("# tiny\n\nIts card.\n\n## Classifier\n")
    assert "36 labelled pictures of 18 groups" in card
    assert (tmp_path / "out" / "open_clip_model.safetensors").samefile(Path(model) / "open_clip_model.safetensors")
    page = (tmp_path / "out" / "adapt.html").read_text()
    assert "<script" not in page
    assert found.row.verdict == "better"
    assert "Adaptation is better than zero-shot" in page


def test_label_and_serve_take_the_folder(request_: Request, world: tuple[Path, Rows], tmp_path: Path) -> None:
    adapt(request_, tmp_path / "out")
    classifier, model = Classifier.load(tmp_path / "out"), open_model(str(tmp_path / "out"), "cpu")
    given = ["label", str(world[0] / "pictures"), "--model", str(tmp_path / "out"), "--device", "cpu"]
    done = CliRunner().invoke(make_app(), [*given, "--out", str(tmp_path / "labels.csv")])
    assert done.exit_code == 0, done.output
    assert f"{classifier.facts.method}, fitted on 36 labelled pictures of 3 classes (mmkd adapt)" in done.output
    assert classifier.facts.temperature_note in done.output  # all pictures are right
    assert "of which all are right, so that no temperature fits best" in classifier.facts.temperature_note
    rows = list(csv.DictReader((tmp_path / "labels.csv").open()))
    first = world[0] / "pictures" / rows[0]["path"]
    (expected_C,) = classifier.probabilities(model.encode_images([Image.open(first).convert("RGB")]))
    found_C = [float(rows[0][f"probability:{name}"]) for name in classifier.classes]
    np.testing.assert_allclose(found_C, expected_C, rtol=1e-5)
    service = open_service(str(tmp_path / "out"), computing=Computing("cpu", "torch"))
    (answer,) = service.classify(first.read_bytes())
    assert not answer.calibrated
    assert {score.name: score.probability for score in answer.scores} == pytest.approx(
        dict(zip(classifier.classes, expected_C, strict=True)), rel=1e-5
    )
    service.close()


def test_a_classifier_beside_other_weights_is_refused(request_: Request, tmp_path: Path) -> None:
    adapt(request_, tmp_path / "out")
    other = build_student(StudentSettings(config=tiny_config()), 4)
    (tmp_path / "out/open_clip_model.safetensors").unlink()
    save(other, tmp_path / "out")
    with pytest.raises(DataError, match="made with another model than the one beside it"):
        Classifier.of_model(tmp_path / "out")


@pytest.mark.parametrize("name", ["open_clip_config.json", "tokenizer_config.json", "onnx.json"])
def test_a_classifier_beside_another_preprocessing_or_tokenizer_is_refused(
    request_: Request, tmp_path: Path, name: str
) -> None:
    """Also where the list of sums is gone, or was written anew."""
    adapt(request_, tmp_path / "out")
    assert Classifier.of_model(tmp_path / "out") is not None
    described = {"preprocess_cfg": {"mean": [0, 0, 0]}, "model_max_length": 3}
    path = tmp_path / "out" / name
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.unlink(missing_ok=True)  # a hard link to the model's own file
    path.write_text(json.dumps({**before, **described}))
    (tmp_path / "out" / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="its weights, its preprocessing or its tokenizer have changed"):
        Classifier.of_model(tmp_path / "out")


@pytest.mark.slow
def test_the_same_again_is_skipped_and_other_labels_are_refused(request_: Request, tmp_path: Path) -> None:
    adapt(request_, tmp_path / "out")
    first = (tmp_path / "out" / "classifier.safetensors").read_bytes()
    assert adapt(request_, tmp_path / "out") is None
    with pytest.raises(StaleError, match="seed"):
        adapt(replace(request_, protocol=replace(FAST, seed=1)), tmp_path / "out")
    assert adapt(request_, tmp_path / "again") is not None
    assert (tmp_path / "again" / "classifier.safetensors").read_bytes() == first


@pytest.mark.slow
def test_stored_vectors_give_the_same_classifier(request_: Request, world: tuple[Path, Rows], tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.parquet"
    embed(world[0] / "labels.csv", request_.model, vectors, devices=("cpu",), workers=1)
    adapt(request_, tmp_path / "pictures")
    adapt(replace(request_, vectors=vectors), tmp_path / "stored")
    left, right = (Classifier.load(tmp_path / name).weight_CD for name in ("pictures", "stored"))
    np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_bad_pictures_and_copies_are_counted_and_contradictions_refused(
    request_: Request, world: tuple[Path, Rows], tmp_path: Path
) -> None:
    folder, rows = world
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    (folder / "pictures" / "copy.png").write_bytes((folder / "pictures" / "0.png").read_bytes())
    copy: dict[str, object] = {"path": "pictures/copy.png", "class": rows[0]["class"], "patient": "other"}
    more = [{**copy, "path": f"pictures/{name}.png"} for name in ("broken", "missing")]
    found = adapt(replace(request_, table=write_table(folder / "more.csv", [*rows, copy, *more])), tmp_path / "out")
    assert found is not None
    assert found.rejected == {"unreadable_image": 1, "missing_file": 1}
    assert "1 pictures are copies of others; copies stay in one fold" in found.notes
    with (tmp_path / "out" / "pictures.rejected.csv").open() as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["pictures/broken.png", "pictures/missing.png"]
    wrong = write_table(folder / "wrong.csv", [*rows, {**copy, "class": rows[1]["class"]}])
    with pytest.raises(DataError, match=r"equal to another one with another label \(pictures/0.png is 'red'"):
        adapt(replace(request_, table=wrong), tmp_path / "wrong")


def test_a_patient_of_both_splits_is_not_learnt_from(
    request_: Request, world: tuple[Path, Rows], tmp_path: Path
) -> None:
    folder, rows = world
    split = [{**row, "split": "test" if n >= 21 else "train"} for n, row in enumerate(rows)]
    found = adapt(replace(request_, table=write_table(folder / "split.csv", split)), tmp_path / "out")
    assert found is not None
    assert found.row.tested == 15
    assert found.row.labels == 18  # pictures 18 to 20 are of the patients of 21 to 23
    assert any(note.startswith("3 pictures of train are left out") for note in found.notes)


def test_damaged_classifiers_are_refused(request_: Request, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no classifier\.json found"):
        Classifier.load(Path(request_.model))
    adapt(request_, tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out")
    with pytest.raises(DataError, match=r"vectors \(2, 5\), expected \(N, 16\)"):
        classifier.probabilities(np.ones((2, 5), np.float32))
    facts = json.loads((tmp_path / "out" / "classifier.json").read_text())
    (tmp_path / "out" / "classifier.json").write_text(json.dumps({**facts, "classes": ["a", "b"]}))
    with pytest.raises(DataError, match=r"weights \(3, 16\), expected \(2, 16\)"):
        Classifier.load(tmp_path / "out")
    (tmp_path / "out" / "classifier.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="not readable"):
        Classifier.load(tmp_path / "out")


@pytest.mark.slow
def test_lora_is_merged_into_a_plain_model(request_: Request, model: str, tmp_path: Path) -> None:
    """On more pictures than elsewhere: a fifth of their groups has to show a clear gain."""
    table = write_table(tmp_path / "labels.csv", write_pictures(tmp_path / "pictures", 144))
    lora = replace(request_, table=table, lora=LoraSettings(epochs=6, lr=1e-2, batch_size=16))
    before = (Path(model) / "open_clip_model.safetensors").read_bytes()
    found = adapt(lora, tmp_path / "out")
    assert found is not None
    assert found.rows[-1].name == "all, LoRA"
    assert found.classifier.facts.method == "LoRA"
    assert found.row.adapted["balanced_accuracy"].value > found.row.zero_shot["balanced_accuracy"].value
    opened = open_model(str(tmp_path / "out"), "cpu")
    weights = (tmp_path / "out" / "open_clip_model.safetensors").read_bytes()
    assert opened.digest == found.classifier.facts.model_digest != open_model(model, "cpu").digest
    assert f"{hashlib.sha256(weights).hexdigest()}  open_clip_model" in (tmp_path / "out" / "SHA256SUMS").read_text()
    text_CD = opened.encode_texts(["blue", "green", "red"])
    np.testing.assert_allclose(found.classifier.weight_CD, opened.scale * text_CD, rtol=1e-4, atol=1e-4)
    assert (Path(model) / "open_clip_model.safetensors").read_bytes() == before
    adapt(lora, tmp_path / "again")
    same = [(tmp_path / name / "open_clip_model.safetensors").read_bytes() for name in ("out", "again")]
    assert same[0] == same[1]


@pytest.mark.slow
def test_lora_is_published_by_the_rule_of_the_other_methods(request_: Request, model: str, tmp_path: Path) -> None:
    """With 18 groups, three are held out: a gain on them, however large, is within what groups differ by."""
    found = adapt(replace(request_, lora=LoraSettings(epochs=6, lr=1e-2, batch_size=8)), tmp_path / "out")
    assert found is not None
    assert found.classifier.facts.method != "LoRA"
    assert (tmp_path / "out" / "open_clip_model.safetensors").samefile(Path(model) / "open_clip_model.safetensors")


@pytest.mark.slow
def test_lora_that_wins_nothing_leaves_the_weights_as_they_were(request_: Request, model: str, tmp_path: Path) -> None:
    found = adapt(replace(request_, lora=LoraSettings(epochs=1, lr=1e-8)), tmp_path / "out")
    assert found is not None
    assert found.rows[-1].methods == {"zero-shot": 2}
    assert found.rows[-1].gain["balanced_accuracy"].value == 0
    assert found.classifier.facts.method != "LoRA"
    assert (tmp_path / "out" / "open_clip_model.safetensors").samefile(Path(model) / "open_clip_model.safetensors")


def test_lora_needs_pictures_and_an_open_clip_folder(request_: Request, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--lora reads the pictures"):
        adapt(replace(request_, lora=LoraSettings(), vectors=tmp_path / "v.parquet"), tmp_path / "out")
    with pytest.raises(ConfigError, match="needs an open_clip folder"):
        ImageTower("biomedclip", "cpu", LoraSettings())


@pytest.mark.slow
def test_the_command_warns_where_nothing_is_won(model: str, world: tuple[Path, Rows], tmp_path: Path) -> None:
    """Labels that were shuffled, nine of ten of one class."""
    folder, rows = world
    rng = np.random.default_rng(0)
    shuffled = [{"path": row["path"], "class": "rare" if place < 5 else "usual"} for place, row in zip(
        rng.permutation(len(rows)).tolist(), rows, strict=True)]  # fmt: skip
    table = write_table(folder / "shuffled.csv", shuffled)
    options = ["--labels", str(table), "--out", str(tmp_path / "out"), "--folds", "2", "--seeds", "1"]
    shown = CliRunner().invoke(make_app(), ["adapt", "--model", model, "--device", "cpu", *options])
    assert shown.exit_code == 0, shown.output
    assert "Warning: " in shown.output
    page = (tmp_path / "out" / "adapt.html").read_text()
    assert '<p class="behind"><strong>Warning: ' in page


@pytest.mark.slow
def test_the_command_reads_a_table_of_another_program(model: str, world: tuple[Path, Rows], tmp_path: Path) -> None:
    """As Excel of a German desk saves it; labels and ids are those of the table in UTF-8."""
    folder, rows = world
    names = {"red": "Ödem", "green": "gesund", "blue": "Größe"}
    lines = [f"{row['path']};{names[str(row['class'])]};{row['patient']}" for row in rows]
    (folder / "desk.csv").write_bytes("\r\n".join(["path;class;patient", *lines]).encode("cp1252"))
    given = ["adapt", "--model", model, "--labels", str(folder / "desk.csv"), "--out", str(tmp_path / "out")]
    fast = ["--folds", "2", "--seeds", "1", "--device", "cpu"]
    done = CliRunner().invoke(make_app(), [*given, *fast])
    assert "--encoding cp1252" in str(done.exception)
    done = CliRunner().invoke(make_app(), [*given, *fast, "--encoding", "cp1252", "--delimiter", ";"])
    assert done.exit_code == 0, done.output
    assert Classifier.load(tmp_path / "out").classes == sorted(names.values())
    done = CliRunner().invoke(make_app(), [*given, "--encoding", "nonsense"])
    assert "--encoding 'nonsense'" in str(done.exception)
