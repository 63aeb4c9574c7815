"""Stored patches: the teachers' own, beside unchanged vectors; and nothing on disk is another without them.

Letters: N rows, P patches of a picture, E a teacher's width of them.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import ConfigError, DataError
from mmkd.executors.local import LocalExecutor
from mmkd.features.check import check_features
from mmkd.features.extract import extract, feature_stage
from mmkd.features.plan import plan_extraction
from mmkd.features.store import FACTS, PATCHES, TeacherFeatures, feature_columns, open_features, vectors
from mmkd.folders.arrow import arrow_schema, read_shard, write_shard
from mmkd.folders.digests import json_digest
from mmkd.images.decode import decode
from mmkd.settings import Machine
from mmkd.teachers.load import load_teacher
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from mmkd.training.targets.patch_relations import common_grid, places_to_follow, relations
from signed_folder import sign
from tiny import MACHINE
from tolerance import assert_rounding

SETTINGS = ExtractSettings(batch_size=32, shard_rows=50, patches=2)
ROWS = np.array([7, 0, 88, 7])


def shard_bytes(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("data-*.arrow"))]


def test_patches_are_the_teachers_beside_the_vectors_that_were_there(
    tiny_corpus: Path, tiny_features: Path, tiny_patches: Path, tiny_teachers: list[TeacherSpec]
) -> None:
    corpus = Corpus(tiny_corpus)
    plain = open_features(tiny_features, corpus, ["narrow", "wide"])
    for spec, without, features in zip(
        tiny_teachers, plain, open_features(tiny_patches, corpus, ["narrow", "wide"]), strict=True
    ):
        teacher = load_teacher(spec, torch.device("cpu"))
        pixels = torch.stack([teacher.transform.pixels(decode(data)) for data in corpus.images(ROWS)])
        patch_NPE, has_N = features.patches(ROWS)
        assert patch_NPE.dtype == np.float16
        assert has_N.all()
        assert (features.facts.grid, features.facts.patch_width, features.facts.patch_numbers) == (2, 32, 4 * 32)
        assert_rounding(patch_NPE, teacher.embed_patches(pixels, 2)[1], roundings=1, size=1.0)
        for found, wanted in zip(features.take(ROWS), without.take(ROWS), strict=True):
            assert np.array_equal(found, wanted)


def test_a_teacher_whose_map_is_too_small_has_no_column_and_it_is_said(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tiny_patches: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    blind = TeacherFeatures(tiny_patches / "blind", Corpus(tiny_corpus))
    assert blind.table.column_names == ["id", "image", "text", "reason"]
    assert "grid" not in json.loads((tiny_patches / "blind" / FACTS).read_text())
    with pytest.raises(DataError, match=r"no patches in it; set \[extract\] patches"):
        blind.patches(ROWS)
    extract(tiny_teachers[:1], ExtractSettings(batch_size=64, patches=3), tiny_corpus, tmp_path, MACHINE)
    said = " ".join(capsys.readouterr().out.split())
    assert "stored without patches: narrow: the map is 2 x 2, smaller than the grid of 3 x 3" in said


def test_without_patches_a_folder_is_what_it_was(tiny_features: Path) -> None:
    """The digest is that of the release before there were any."""
    spec = TeacherSpec(name="one", library="reference", model="stored")
    made_from = feature_stage(spec, ExtractSettings(), "0" * 64, Path("features")).made_from
    assert json_digest(made_from) == "812a5a32be325bb384462119a89ef5dfa07d350a0c265c91147847417a63597c"
    other = feature_stage(spec, ExtractSettings(patches=4), "0" * 64, Path("features")).made_from
    assert other["settings"] == {**made_from["settings"], "patches": 4}
    facts = json.loads((tiny_features / "wide" / FACTS).read_text())
    assert list(facts) == ["name", "dim", "licence", "model", "variant", "revision", "weights"]
    table = read_shard(sorted((tiny_features / "wide").glob("data-*.arrow"))[0])
    assert table.column_names == ["id", "image", "text", "reason"]


def test_an_unreadable_picture_has_no_patches_and_the_row_says_why(
    make_corpus: Callable[[Path], Path], tiny_teachers: list[TeacherSpec], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    corpus = make_corpus(tmp_path)
    (seen, left) = (0, 3)

    def decoded(data: bytes) -> object:
        nonlocal seen
        seen += 1
        return None if seen == left else decode(data)

    monkeypatch.setattr("mmkd.features.engine._decoded", decoded)
    extract(tiny_teachers[:1], SETTINGS, corpus, tmp_path / "features", MACHINE)
    (features,) = open_features(tmp_path / "features", Corpus(corpus), ["narrow"])
    _, has_N = features.patches(np.arange(5))
    assert has_N.tolist() == [True, True, False, True, True]
    assert features.table.data.column("reason")[2].as_py() == "image cannot be decoded"
    (found,) = check_features(tmp_path / "features", corpus)
    assert (found.problems, found.null) == ([], 1)


@pytest.mark.slow
def test_workers_write_the_same_bytes(
    tiny_corpus: Path, tiny_patches: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path / "two", MACHINE, executor=LocalExecutor(2))
    decoding = Machine(device="cpu", workers=1, threads=1)
    extract(tiny_teachers, SETTINGS, tiny_corpus, tmp_path / "ahead", decoding)
    for name in ("narrow", "wide"):
        assert shard_bytes(tmp_path / "two" / name) == shard_bytes(tiny_patches / name)
        assert shard_bytes(tmp_path / "ahead" / name) == shard_bytes(tiny_patches / name)


def longer(table: pa.Table) -> pa.Table:
    flat_NX = np.stack(table.column(PATCHES).to_pylist()).astype(np.float32)
    flat_NX[6, 40] += 0.5
    return with_patches(table, vectors(flat_NX, np.ones(len(table), bool)))


def emptied(table: pa.Table) -> pa.Table:
    flat_NX = np.stack(table.column(PATCHES).to_pylist())
    return with_patches(table, vectors(flat_NX, np.arange(len(table)) != 2))


def shorter(table: pa.Table) -> pa.Table:
    flat_NX = np.stack(table.column(PATCHES).to_pylist())
    return with_patches(table, vectors(flat_NX[:, :96], np.ones(len(table), bool)))


def without(table: pa.Table) -> pa.Table:
    return table.drop_columns([PATCHES])


def with_patches(table: pa.Table, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(PATCHES), PATCHES, values)


@pytest.mark.parametrize(
    ("change", "numbers", "message"),
    [
        (longer, 128, "patches have another norm than 1, the first in row 6"),
        (emptied, 128, "1 rows have no patches and do not say why"),
        (shorter, 96, r"patches have 96 numbers; expected 2\^2 x 32"),
        (without, 0, "the facts of the teacher have a grid of 2, but the columns are id, image, text, reason"),
    ],
)
def test_the_check_finds_what_is_wrong_with_patches(
    change: Callable[[pa.Table], pa.Table], numbers: int, message: str, tiny_corpus: Path, tiny_patches: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    shutil.copytree(tiny_patches / "narrow", tmp_path / "features" / "narrow")
    shards = sorted((tmp_path / "features" / "narrow").glob("data-*.arrow"))
    for place, path in enumerate(shards):
        table = read_shard(path)
        changed = change(table) if place == 0 or change in (shorter, without) else table
        write_shard(path, arrow_schema(feature_columns(8, numbers)), [changed])
    info = tmp_path / "features" / "narrow" / "dataset_info.json"
    described = json.loads(info.read_text())
    described["features"] = feature_columns(8, numbers).to_dict()
    info.write_text(json.dumps(described))
    sign(tmp_path / "features" / "narrow")
    (found,) = check_features(tmp_path / "features", tiny_corpus)
    assert len(found.problems) == 1
    assert re.fullmatch(message, found.problems[0])


def test_good_patches_pass_the_check(tiny_corpus: Path, tiny_patches: Path) -> None:
    found = check_features(tiny_patches, tiny_corpus)
    assert [(one.teacher, one.null, one.problems) for one in found] == [
        ("blind", 0, []),
        ("narrow", 0, []),
        ("wide", 0, []),
    ]


def test_the_plan_counts_the_bytes_of_patches(
    tiny_corpus: Path, tiny_patches: Path, tiny_teachers: list[TeacherSpec]
) -> None:
    corpus = Corpus(tiny_corpus)
    plan = plan_extraction(tiny_teachers, SETTINGS, len(corpus), torch.device("cpu"), corpus)
    for teacher in plan.teachers:
        stored = sum(read_shard(path).nbytes for path in (tiny_patches / teacher.name).glob("data-*.arrow"))
        assert teacher.bytes * len(corpus) == pytest.approx(stored, rel=0.03)


def test_relations_are_cosines_and_zero_where_there_are_no_patches(tiny_corpus: Path, tiny_patches: Path) -> None:
    features = open_features(tiny_patches, Corpus(tiny_corpus), ["narrow", "blind", "wide"])
    assert common_grid(features) == 2
    places = places_to_follow(features, 2, (0.125, 0.0, 0.875, 1.0))
    assert places == (0, 2)
    found_BTPP = relations(features, places, ROWS, 2)
    assert found_BTPP.shape == (4, 3, 4, 4)
    assert found_BTPP[:, 1].abs().max() == 0.0
    assert relations(features, [2], ROWS, 2)[:, 0].abs().max() == 0.0
    patch_PE = features[2].patches(ROWS)[0][1].astype(np.float64)
    assert_rounding(found_BTPP[1, 2], patch_PE @ patch_PE.T, roundings=64, size=1.0)


def test_teachers_that_see_another_part_of_a_picture_are_left_out_and_named(
    tiny_corpus: Path, tiny_patches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = Corpus(tiny_corpus)
    shutil.copytree(tiny_patches / "narrow", tmp_path / "narrow")
    facts = json.loads((tmp_path / "narrow" / FACTS).read_text())
    assert facts["view"] == pytest.approx([0.125, 0.0, 0.875, 1.0], abs=0.02)  # the square in the middle of 400 x 300
    (tmp_path / "narrow" / FACTS).write_text(json.dumps({**facts, "view": [0.0, 0.3, 1.0, 1.0]}))
    sign(tmp_path / "narrow")
    features = [TeacherFeatures(tmp_path / "narrow", corpus), *open_features(tiny_patches, corpus, ["wide"])]
    assert places_to_follow(features, 2, facts["view"]) == (1,)
    said = " ".join(capsys.readouterr().out.split())
    assert "term patches: without narrow, which sees another part of a picture than the student (0 to 100 %" in said
    assert places_to_follow(features, 2, [0.0, 0.1, 0.9, 1.0]) == (0, 1)  # to a quarter of the side
    with pytest.raises(
        ConfigError, match=r"no teacher's patches lie where the student's do; set \[student\] resize_mode"
    ):
        places_to_follow(features, 2, [0.5, 0.0, 0.5, 1.0])


def test_teachers_without_a_common_grid_are_refused(
    tiny_corpus: Path, tiny_features: Path, tiny_patches: Path, tmp_path: Path
) -> None:
    corpus = Corpus(tiny_corpus)
    with pytest.raises(
        DataError, match=r"no teacher has features of patches \(narrow, wide\); set \[extract\] patches"
    ):
        common_grid(open_features(tiny_features, corpus, ["narrow", "wide"]))
    shutil.copytree(tiny_patches / "narrow", tmp_path / "narrow")
    facts = json.loads((tmp_path / "narrow" / FACTS).read_text())
    (tmp_path / "narrow" / FACTS).write_text(json.dumps({**facts, "grid": 4, "patch_width": 8}))
    sign(tmp_path / "narrow")
    other = TeacherFeatures(tmp_path / "narrow", corpus)
    with pytest.raises(DataError, match="the teachers' grids have different sides"):
        common_grid([other, *open_features(tiny_patches, corpus, ["wide"])])
