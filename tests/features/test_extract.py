"""Extraction: aligned, float16 unit vectors, resumable per shard, one decode for all, refused when inputs change."""

import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, ModelError
from mmkd.features import engine as decoding
from mmkd.features import extract as extraction
from mmkd.features import hand_out
from mmkd.features.extract import extract
from mmkd.features.store import Shard, open_features
from mmkd.folders import stage as stages
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.images.decode import decode
from mmkd.settings import Machine
from mmkd.teachers.encoders.teacher import Teacher
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.licences import use_of
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE
from tolerance import assert_rounding

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
        expected = teacher.encode_images(torch.stack([teacher.transform.pixels(image) for image in images]))
        captions = teacher.encode_texts(corpus.take(rows).column("caption").to_pylist())
        assert image_ND.dtype == np.float16
        assert_rounding(image_ND, expected, roundings=1, size=1.0)
        assert_rounding(text_ND, captions, roundings=1, size=1.0)
        assert_rounding(np.linalg.norm(image_ND.astype(np.float32), axis=1), 1.0, roundings=2, dtype=np.float16)
        assert valid_N.all()
        assert features.facts.licence == "MIT"


def test_workers_change_no_byte(
    tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, Machine(device="cpu", workers=2, threads=1))
    assert shard_bytes(tmp_path / "wide") == shard_bytes(tiny_features / "wide")


def test_processes_that_stay_decode_shard_after_shard(
    tiny_corpus: Path, tiny_features: Path, tiny_teachers: list[TeacherSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an executor's worker has it: a shard a call, one set of processes for all."""
    made: list[int] = []
    loader = decoding.DataLoader
    monkeypatch.setattr(decoding, "DataLoader", lambda *given, **named: made.append(1) or loader(*given, **named))
    teacher, corpus = load_teacher(tiny_teachers[1], torch.device("cpu")), Corpus(tiny_corpus)
    producer = decoding.ModelFeatures([teacher], corpus, SETTINGS, workers=1, stays=True)
    (stored,) = open_features(tiny_features, corpus, ["wide"])
    for first in (0, 30, 60):
        shard = Shard("one", np.arange(first, first + 20), (0,))
        ((_, (table,)),) = producer.produce([shard])
        wanted, _, _ = stored.take(shard.rows)
        np.testing.assert_allclose(table.column("image").to_pylist(), wanted, atol=2e-3)  # float16, another batch
    assert len(made) == 1


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
    write = hand_out.write_shard

    def dying(path: Path, *arguments: object) -> int:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hand_out, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)
    assert not (tmp_path / "narrow").exists()
    kept = {path: path.stat().st_mtime_ns for path in written}
    monkeypatch.setattr(hand_out, "write_shard", write)
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


def test_rows_that_fail_are_null_and_say_why(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus(tiny_corpus)
    broken = corpus.images([7])[0]

    def refuse(data: bytes) -> Image.Image:
        return decode(b"no image" if data == broken else data)

    monkeypatch.setattr(decoding, "decode", refuse)
    embed = Teacher.embed_images

    def blind(teacher: Teacher, image_BCHW: torch.Tensor) -> torch.Tensor:
        vector_BD = embed(teacher, image_BCHW).clone()
        if teacher.name == "wide":
            vector_BD[3] = torch.inf  # row 3 of every batch: rows 3, 28, 53, ...
        return vector_BD

    monkeypatch.setattr(Teacher, "embed_images", blind)
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)
    narrow, wide = open_features(tmp_path, corpus, ["narrow", "wide"])
    assert np.flatnonzero(~narrow.valid()).tolist() == [7]
    assert {7, 3, 28, 53} <= set(np.flatnonzero(~wide.valid()).tolist())
    assert wide.table[[7]].column("reason").to_pylist() == ["image cannot be decoded"]
    assert wide.table[[3]].column("reason").to_pylist() == ["image vector is not finite"]
    assert narrow.table[[3]].column("reason").to_pylist() == [None]
    assert wide.table[[7]].column("text").null_count == 0  # the caption is embedded all the same


def test_teachers_beyond_the_memory_wait_for_a_second_pass(
    tiny_corpus: Path,
    tiny_features: Path,
    tiny_teachers: list[TeacherSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded = []
    monkeypatch.setattr(decoding, "decode", lambda data: decoded.append(1) or decode(data))
    small = SETTINGS.model_copy(update={"memory_gb": 1e-6})
    extract(tiny_teachers, small, tiny_corpus, tmp_path, MACHINE)
    assert len(decoded) == 2 * len(Corpus(tiny_corpus))
    for name in ("narrow", "wide"):
        assert shard_bytes(tmp_path / name) == shard_bytes(tiny_features / name)


def test_too_little_gpu_memory_is_said_with_what_to_do(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(teacher: Teacher, image_BCHW: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Teacher, "embed_images", full)
    with pytest.raises(ConfigError, match=r"2 teachers at once with batches of 32.*set .extract. batch_size"):
        extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path, MACHINE)


def test_features_outlive_their_teachers_weights(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "model"
    shutil.copytree(tiny_teachers[0].model.removeprefix("local-dir:"), moved)
    spec = TeacherSpec(name="t", model=f"local-dir:{moved}")
    extract([spec], SETTINGS, tiny_corpus, tmp_path / "features", MACHINE)
    moved.rename(tmp_path / "elsewhere")
    extract([spec], SETTINGS, tiny_corpus, tmp_path / "features", MACHINE)
    assert "is complete, skipped" in capsys.readouterr().out
    with pytest.raises(ModelError, match="no folder"):
        extract([spec.model_copy(update={"name": "new"})], SETTINGS, tiny_corpus, tmp_path / "features", MACHINE)


def test_other_weights_under_the_same_name_are_refused(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    extract([tiny_teachers[0]], SETTINGS, tiny_corpus, tmp_path, MACHINE)
    with pytest.raises(ConfigError, match=r"inputs\.weights"):
        extract([tiny_teachers[1].model_copy(update={"name": "narrow"})], SETTINGS, tiny_corpus, tmp_path, MACHINE)


def test_two_runs_never_write_into_each_others_drafts(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(range(5000))})
    path = tmp_path / "data.arrow"
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in pool.map(write_shard, [path] * 8, [table.schema] * 8, [[table]] * 8):
            assert read_shard(path).equals(table)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.arrow"]


def test_drafts_of_a_killed_run_are_swept_away(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    stage = extraction.feature_stage(tiny_teachers[0], SETTINGS, Corpus(tiny_corpus).digest, tmp_path)
    stages.begin(stage)
    (stage.partial / ".data-00000-of-00003.arrow.host-1.tmp").write_bytes(b"half")
    extract([tiny_teachers[0]], SETTINGS, tiny_corpus, tmp_path, MACHINE)
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize(
    ("spec", "use"),
    [
        (TeacherSpec(name="a", model="x", licence="Apache-2.0"), "commercial"),
        (TeacherSpec(name="a", model="x", licence="CC BY-NC 4.0"), "noncommercial"),
        (TeacherSpec(name="a", model="x"), "unclear"),
        (TeacherSpec.model_validate("biomedclip"), "unclear"),
        (TeacherSpec.model_validate({"name": "biomedclip", "licence": "MIT, by contract"}), "commercial"),
    ],
)
def test_the_licence_of_weights_decides_their_use(
    spec: TeacherSpec, use: str, tiny_corpus: Path, tmp_path: Path
) -> None:
    assert use_of(spec) == use
    if use != "commercial":
        settings = ExtractSettings(licence="commercial")
        with pytest.raises(ConfigError, match=f"refuses {spec.name} .{use}"):
            extract([spec], settings, tiny_corpus, tmp_path, MACHINE)
