"""Feature folders: float16 vectors with nulls there and back, and none that belong to another corpus."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features import store
from mmkd.features.store import NO_CAPTION, TeacherFeatures, feature_table, open_features, to_numpy
from mmkd.folders.stage import read_manifest


def test_rows_without_a_finite_vector_are_null() -> None:
    value = np.array([[0.6, 0.8], [np.nan, 0.0], [1.0, 0.0]], dtype=np.float32)
    table = feature_table(pa.chunked_array([["a", "b", "c"]]), {"image": value, "text": value})
    assert table.column("image").null_count == 1
    back_ND, valid_N = to_numpy(table.column("image"), 2)
    assert valid_N.tolist() == [True, False, True]
    np.testing.assert_allclose(back_ND, [[0.6, 0.8], [0, 0], [1, 0]], atol=1e-3)
    sliced_ND, _ = to_numpy(table.slice(1, 2).column("image"), 2)
    np.testing.assert_allclose(sliced_ND, [[0, 0], [1, 0]], atol=1e-3)


def test_a_missing_caption_hides_no_failure_of_the_picture() -> None:
    good, bad = [0.6, 0.8], [np.nan, 0.0]
    values = {
        "image": np.array([good, bad, good, good], np.float32),
        "text": np.array([bad, bad, bad, bad], np.float32),
        "patches": np.array([good, good, bad, good], np.float32),
    }
    reasons = [NO_CAPTION, NO_CAPTION, NO_CAPTION, "image cannot be decoded"]
    table = feature_table(pa.chunked_array([["a", "b", "c", "d"]]), values, reasons)
    assert table.column("reason").to_pylist() == [
        NO_CAPTION,
        "image vector is not finite",
        "patches vector is not finite",
        "image cannot be decoded",
    ]


def test_features_of_another_corpus_are_refused(tiny_corpus: Path, tiny_features: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_corpus, tmp_path / "corpus")
    manifest = tmp_path / "corpus" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(read_manifest(tiny_corpus)["digest"], "0" * 64))
    with pytest.raises(DataError, match=r"features of another corpus.*extract them again"):
        TeacherFeatures(tiny_features / "wide", Corpus(tmp_path / "corpus"))


def test_features_that_are_missing_or_unfinished_are_named(
    tiny_corpus: Path, tiny_features: Path, tmp_path: Path
) -> None:
    corpus = Corpus(tiny_corpus)
    with pytest.raises(DataError, match=r"other: no manifest\.json found"):
        open_features(tiny_features, corpus, ["wide", "other"])
    shutil.copytree(tiny_features / "wide", tmp_path / "wide")
    next((tmp_path / "wide").glob("data-*.arrow")).unlink()
    with pytest.raises(DataError, match=r"data-00000-of-00003\.arrow is missing"):
        TeacherFeatures(tmp_path / "wide", corpus)


def test_vectors_survive_as_float16_with_the_ranking_they_had(tiny_corpus: Path, tiny_features: Path) -> None:
    """16 bits are safe for affinities: the nearest caption of an image is the same as in 32 bits, up to rounding."""
    corpus = Corpus(tiny_corpus)
    (features,) = open_features(tiny_features, corpus, ["wide"])
    image_ND, text_ND, _ = features.take(np.arange(len(corpus)))
    exact = image_ND.astype(np.float64) @ text_ND.astype(np.float64).T
    half = (image_ND @ text_ND.T).astype(np.float64)
    assert np.abs(exact - half).max() < 2e-3


def test_rows_are_taken_in_pieces_as_at_once(
    tiny_corpus: Path, tiny_features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (features,) = open_features(tiny_features, Corpus(tiny_corpus), ["narrow"])
    rows = np.array([5, 0, 3, 3, 9, 1, 2])
    whole = features.take(rows)
    monkeypatch.setattr(store, "TAKEN_AT_ONCE", 3)
    for at_once, in_pieces in zip(whole, features.take(rows), strict=True):
        assert at_once.dtype == in_pieces.dtype
        assert np.array_equal(at_once, in_pieces)
    assert [len(part) for part in features.take(np.array([], int))] == [0, 0, 0]
