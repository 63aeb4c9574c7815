"""With how many bits a student computes where nobody says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from mmkd.inference.precision import eight_bits
from mmkd.serve.computing import Computing, chosen_precision

ONNX = ("onnx.json", "visual/model{}.onnx", "textual/model{}.onnx", "textual/tokenizer.json")
CPU = Computing(device="cpu")


def export(folder: Path, same: int = 998, pictures: int = 1000, rows: list[dict[str, Any]] | None = None) -> Path:
    """The names of an export's files, and what it states of the 8-bit ones."""
    for name in ONNX:
        for suffix in ("", ".int8"):
            path = folder / name.format(suffix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    found = {"vectors": 0.01, "probabilities": 0.0234, "top1": same, "pictures": pictures}
    figures = {"sample": "pictures of the corpus", "tolerance": 1e-4, "programs": {"onnx, int8": found}}
    (folder / "agreement.json").write_text(json.dumps({**figures, "int8": rows or []}))
    return folder


def test_eight_bits_are_taken_where_the_export_measured_that_they_answer_alike(tmp_path: Path) -> None:
    row = {"dataset": "chest", "metric": "balanced_accuracy", "value": 0.8125, "model": "student, int8", "n": 90}
    precision, why = chosen_precision(str(export(tmp_path, rows=[row])), CPU, has_archive=False)
    assert precision == "int8"
    for words in ("998 of 1,000", "pictures of the corpus", "0.023", "chest: balanced_accuracy 0.812", "--precision"):
        assert words in why


@pytest.mark.parametrize(
    ("same", "pictures", "words"), [(989, 1000, "989 of 1,000"), (8, 8, "100 pictures or more"), (99, 99, "99 of 99")]
)
def test_they_are_not_where_they_differ_or_little_was_measured(
    tmp_path: Path, same: int, pictures: int, words: str
) -> None:
    precision, why = chosen_precision(str(export(tmp_path, same, pictures)), CPU, has_archive=False)
    assert precision == "fp32"
    assert words in why


def test_vectors_of_an_archive_or_a_classifier_are_not_mixed_with_others(tmp_path: Path) -> None:
    folder = str(export(tmp_path))
    assert chosen_precision(folder, CPU, has_archive=True)[0] == "fp32"
    (tmp_path / "classifier.json").touch()
    precision, why = chosen_precision(folder, CPU, has_archive=False)
    assert (precision, "classifier" in why) == ("fp32", True)


def test_they_are_for_onnx_runtime_alone(tmp_path: Path) -> None:
    folder = str(export(tmp_path))
    assert chosen_precision(folder, Computing(backend="torch"), False)[0] == "fp32"
    assert chosen_precision(folder, Computing(device="cuda"), False)[0] == "fp32"
    assert chosen_precision(folder, Computing(device="cuda", backend="onnx"), False)[0] == "int8"
    assert chosen_precision("plip", CPU, False) == ("fp32", "")
    (tmp_path / "visual/model.int8.onnx").unlink()
    assert chosen_precision(folder, CPU, False) == ("fp32", "")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"sample": 1}', '{"sample": "x", "programs": {"onnx, int8": {"top1": 3}}}']
)
def test_figures_that_are_none_state_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "agreement.json").write_text(text)
    assert eight_bits(tmp_path) is None
    assert eight_bits(tmp_path / "missing") is None
