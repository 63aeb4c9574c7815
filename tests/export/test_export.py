"""One folder for several programs: compared before it is published, with sums and a signature."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import verifying
from tiny_students import POOLED, Maker

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, ModelError
from mmkd.export import formats
from mmkd.export.agreement import Agreement, Vectors, agreement
from mmkd.export.export import Exported, compare, export
from mmkd.export.folder import export_folder
from mmkd.export.sample import of_corpus, random_pictures
from mmkd.export.settings import ExportSettings
from mmkd.inference.onnx import OnnxModel
from mmkd.teachers.files.open_clip_folder import load, save
from tolerance import assert_rounding

TWO = ExportSettings(to=["open_clip", "transformers"])


def card(exported: Exported) -> str:
    return f"formats {', '.join(exported.formats)}\n"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one lies beside it."""
    path = tmp_path_factory.mktemp("keys") / "key.pem"
    private = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


@pytest.fixture(scope="module")
def exported(student: Path, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "export"
    folder.mkdir()
    counts = export(student, folder, folder, TWO.model_copy(update={"sign": key}), random_pictures(), card)
    assert counts["formats"] == 2
    assert counts["pictures_compared"] == 8
    return folder


def test_open_clip_gives_the_students_outputs(student: Path, exported: Path) -> None:
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{exported}")
    tokens = open_clip.get_tokenizer(f"local-dir:{exported}")(["a nodule", "drusen"])
    ours = load(student)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for theirs, expected in zip(network.eval()(image, tokens), ours.network(image, tokens), strict=True):
            assert_rounding(theirs, expected)
    assert repr(transform) == repr(ours.transform)


def test_a_bert_opens_in_both_although_each_wants_a_config_of_its_own(make: Maker, tmp_path: Path) -> None:
    student, home = tmp_path / "distill", tmp_path / "export"
    save(make(pooler=POOLED), student)
    home.mkdir()
    export(student, home, home, TWO, random_pictures(), card)
    model = load(student)
    network, _ = open_clip.create_model_from_pretrained(f"local-dir:{home}")
    tokens = model.tokenizer(["a nodule", "drusen"])
    with torch.inference_mode():
        assert_rounding(network.eval().encode_text(tokens), model.network.encode_text(tokens))
    home.rename(tmp_path / "moved")  # mmkd finds the BERT's description wherever the folder lies
    with torch.inference_mode():
        assert_rounding(load(tmp_path / "moved").network.encode_text(tokens), model.network.encode_text(tokens))


def test_the_sums_are_those_of_sha256sum(exported: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=exported, capture_output=True, text=True, check=True)
    named = {line.split("  ")[1] for line in (exported / "SHA256SUMS").read_text().splitlines()}
    there = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert named == there - {"SHA256SUMS", "model.sig"}
    assert done.stdout.count(": OK") == len(named)


def test_the_signature_is_verified_and_notices_a_change(exported: Path, key: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(exported, moved)
    (moved / "manifest.json").write_text("{}")  # a run's own, written after the signature

    def verify() -> None:
        check = verifying.Config().use_elliptic_key_verifier(public_key=key.with_suffix(".pub"))
        check.verify(moved, moved / "model.sig")

    verify()
    assert str(exported.parent) not in (moved / "model.sig").read_text()
    with (moved / "README.md").open("a") as stream:
        stream.write("A word more.")
    with pytest.raises(ValueError, match=r"README\.md"):
        verify()


def test_what_is_no_key_does_not_sign(student: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    (tmp_path / "export").mkdir()
    settings = ExportSettings(to=["open_clip"], sign=tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="not a private key that signs"):
        export(student, tmp_path / "export", tmp_path / "export", settings, random_pictures(), card)


def test_a_folder_with_other_weights_is_not_published(
    student: Path, make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make()
    with torch.no_grad():
        other.network.visual.proj.add_(0.05)
    right = formats.to_transformers.write
    monkeypatch.setattr(formats.to_transformers, "write", lambda model, folder: right(other, folder))
    with pytest.raises(ModelError, match=r"transformers differs from the student: vectors by .* nothing was published"):
        export(student, tmp_path, tmp_path, TWO, random_pictures(), card)
    assert not (tmp_path / "README.md").exists()


def test_a_format_asked_for_must_hold_the_whole_student(make: Maker, tmp_path: Path) -> None:
    save(make(pooler=POOLED, projection="mlp"), tmp_path / "distill")
    with pytest.raises(ModelError, match=r"two layers.*leave transformers out of --to"):
        export(tmp_path / "distill", tmp_path, tmp_path, TWO, random_pictures(), card)


def test_without_a_choice_what_does_not_fit_is_said_and_counted(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(formats, "ALL", ("open_clip", "transformers"))
    save(make(pooler=POOLED, projection="mlp"), tmp_path / "distill")
    seen: list[Exported] = []
    made = tmp_path / "export"
    made.mkdir()
    counts = export(
        tmp_path / "distill", made, made, ExportSettings(), random_pictures(), lambda one: seen.append(one) or "card"
    )
    assert counts["formats_without_a_part"] == 1
    assert "two layers" in seen[0].refused["transformers"]
    assert "export: transformers: the text tower is left out" in capsys.readouterr().out
    assert seen[0].agreements["transformers"].vectors < 1e-5  # of the image tower


def test_agreement_by_hand() -> None:
    image_ND, text_TD = np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)
    expected = Vectors(image_ND, text_TD, 0.0)
    assert agreement(expected, expected, 10.0) == Agreement(0.0, 0.0, 2, 2)
    other = Vectors(image_ND[::-1].copy(), text_TD, 0.0)
    e = np.exp(2.0)
    found = agreement(expected, other, 2.0)
    assert found.vectors == 1.0
    assert found.probabilities == pytest.approx((e - 1) / (e + 1))
    assert (found.top1, found.pictures) == (0, 2)
    with pytest.raises(ModelError, match=r"the same text first on 0 of 2 pictures"):
        found.check("it")
    tie = np.array([[1, 1]], np.float32) / np.sqrt(2, dtype=np.float32)
    near = agreement(Vectors(tie, text_TD, 0.0), Vectors(tie + np.float32([[-1e-6, 1e-6]]), text_TD, 0.0), 10.0)
    assert near.top1 == 1  # both texts are as probable


def test_the_sample_takes_held_out_pictures_first(tiny_corpus: Path) -> None:
    corpus = Corpus(tiny_corpus)
    held = len(corpus.rows("val"))
    sample = of_corpus(corpus, held + 3)
    assert sample.count == held + 3 == len(list(sample.images)) == len(list(sample.images))
    assert f"{held} of them held out" in sample.origin
    captions = corpus.column("caption")
    assert set(sample.texts) <= set(captions)
    assert len({text.lower() for text in sample.texts}) == len(sample.texts)


@pytest.mark.slow
def test_a_student_agrees_with_itself_on_the_corpus(student: Path, exported: Path, tiny_corpus: Path) -> None:
    sample = of_corpus(Corpus(tiny_corpus), 20)
    found = compare(load(student), exported, ["open_clip", "transformers"], sample)
    assert {name: one.top1 for name, one in found.items() if "resizing" not in name} == {
        "open_clip": 20,
        "transformers": 20,
    }


def test_a_model_folder_is_exported_without_a_recipe(student: Path, tmp_path: Path) -> None:
    model = tmp_path / "mine"
    save(load(student), model)
    (model / "README.md").write_text("# Mine\nlicence: MIT\n")
    settings = ExportSettings(name="mine", to=["open_clip"])
    export_folder(model, tmp_path / "out", settings)
    card = (tmp_path / "out/README.md").read_text()
    assert "# mine" in card
    assert "README.original.md" in card
    assert (tmp_path / "out/README.original.md").read_text() == "# Mine\nlicence: MIT\n"
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["kind"] == "export"
    assert str(tmp_path) not in card
    with pytest.raises(ConfigError, match="is the model itself"):
        export_folder(model, model, settings)


def test_the_first_dimensions_are_exported_as_a_model_of_their_own(student: Path, tmp_path: Path) -> None:
    settings = ExportSettings(name="mine", to=["open_clip", "onnx"], dim=5)
    export_folder(student, tmp_path / "out", settings)
    cut, whole = load(tmp_path / "out"), load(student)
    assert cut.dim == 5
    network: Any = whole.network
    short: Any = cut.network
    with torch.no_grad():
        tokens = whole.tokenizer(["no finding", "a chest x-ray"])
        expected = torch.nn.functional.normalize(network.encode_text(tokens)[:, :5], dim=1)
        torch.testing.assert_close(short.encode_text(tokens, normalize=True), expected, rtol=1e-5, atol=1e-5)
    assert OnnxModel(tmp_path / "out").encode_texts(["no finding"]).shape == (1, 5)


def test_settings_name_formats_once() -> None:
    for wrong in ([], ["onnx", "onnx"], ["tflite"]):
        with pytest.raises(ValueError, match="to"):
            ExportSettings(to=wrong)
    assert ExportSettings().to is None
