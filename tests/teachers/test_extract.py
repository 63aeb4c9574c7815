"""Extraction: aligned, float16 unit vectors, resumable per shard, one decode for all, refused when inputs change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, ModelError
from mmkd.features.store import open_features
from mmkd.settings import Machine
from mmkd.teachers import decode as decoding
from mmkd.teachers import extract as extraction
from mmkd.teachers.decode import decode
from mmkd.teachers.extract import extract
from mmkd.teachers.load import load_teacher
from mmkd.teachers.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE

SETTINGS = ExtractSettings(batch_size=32, shard_rows=50)


def shard_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("data-*.arrow"))]


def test_features_are_the_teachers_in_row_order(
    tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec]
) -> None:
    corpus = Corpus(tiny_corpus)
    for spec, features in zip(tiny_teachers, open_features(tiny_features, corpus, ["narrow", "wide"]), strict=True):
        teacher = load_teacher(spec, torch.device("cpu"))
        rows = np.array([5, 0, 77, 5])
        image_ND, text_ND, valid_N = features.take(rows)
        images = [decode(data) for data in corpus.images(rows)]
        expected = teacher.encode_images(torch.stack([teacher.transform(image) for image in images if image]))
        captions = teacher.encode_texts(corpus.take(rows).column("caption").to_pylist())
        assert image_ND.dtype == np.float16
        np.testing.assert_allclose(image_ND.astype(np.float32), expected.numpy(), atol=1e-3)
        np.testing.assert_allclose(text_ND.astype(np.float32), captions.numpy(), atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(image_ND.astype(np.float32), axis=1), 1.0, atol=2e-3)
        assert valid_N.all()
        assert features.facts.licence == "MIT"


def test_workers_change_no_byte(
    tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, Machine(device="cpu", workers=2, threads=1))
    assert shard_bytes(tmp_path / "wide") == shard_bytes(tiny_features / "wide")


def test_a_new_teacher_touches_nothing_else_and_images_are_decoded_once(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    monkeypatch.setattr(decoding, "decode", lambda data: decoded.append(1) or decode(data))
    rows = len(Corpus(tiny_corpus))
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)
    assert len(decoded) == rows  # two teachers, one decode
    before = {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and "lock" not in path.name
    }
    extract(
        [*tiny_teachers, tiny_teachers[0].model_copy(update={"name": "third"})],
        SETTINGS,
        tiny_corpus,
        tmp_path,
        MACHINE,
    )
    assert len(decoded) == 2 * rows
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_killed_extraction_keeps_its_shards(
    tiny_corpus: Path,
    tiny_features: Path,
    tiny_teachers: list[TeacherSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Path] = []
    write = extraction.write_shard

    def dying(path: Path, *arguments: object) -> int:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(extraction, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)
    assert not (tmp_path / "narrow").exists()
    kept = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(extraction, "write_shard", write)
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)
    for path, time in kept.items():
        assert (tmp_path / path.parent.name.removesuffix(".partial") / path.name).stat().st_mtime_ns == time
    for name in ("narrow", "wide"):
        assert shard_bytes(tmp_path / name) == shard_bytes(tiny_features / name)


def test_a_finished_teacher_is_skipped_and_other_settings_are_refused(
    tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    extract(tiny_teachers, SETTINGS, tiny_corpus, tiny_features, MACHINE)
    assert capsys.readouterr().out.count("is complete, skipped") == 2
    with pytest.raises(ConfigError, match="shard_rows"):
        extract(tiny_teachers, ExtractSettings(shard_rows=10), tiny_corpus, tiny_features, MACHINE)


def test_a_teacher_that_does_not_load_stops_before_any_work(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    missing = TeacherSpec(name="gone", model="local-dir:/nowhere")
    with pytest.raises(ModelError, match="nowhere"):
        extract([*tiny_teachers, missing], SETTINGS, tiny_corpus, tmp_path, MACHINE)
    assert not list(tmp_path.rglob("data-*.arrow"))
