"""`mmkd features check` finds what is wrong with stored features, and nothing where nothing is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmkd.cli import main
from mmkd.errors import DataError
from mmkd.features.check import check_features
from mmkd.features.store import feature_columns, vectors
from mmkd.folders.arrow import arrow_schema, read_shard, write_shard
from mmkd.folders.stage import MANIFEST
from signed_folder import sign


@pytest.fixture
def run(tiny_corpus: Path, tiny_features: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_corpus, tmp_path / "corpus")
    shutil.copytree(tiny_features, tmp_path / "features")
    return tmp_path


def rewrite(run: Path, change: Callable[[pa.Table], pa.Table], signed: bool = True) -> None:
    """Change the first shard of `narrow`; signed: as if it had been written so."""
    folder = run / "features" / "narrow"
    first = sorted(folder.glob("data-*.arrow"))[0]
    table = change(read_shard(first))
    write_shard(first, arrow_schema(feature_columns(8)), [table])
    if signed:
        sign(folder)


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def doubled(table: pa.Table) -> pa.Table:
    values_ND = np.stack(table.column("image").to_pylist()).astype(np.float32)
    values_ND[4] *= 1.01
    return with_column(table, "image", vectors(values_ND, np.ones(len(table), bool)))


def emptied(table: pa.Table) -> pa.Table:
    values_ND = np.stack(table.column("text").to_pylist())
    return with_column(table, "text", vectors(values_ND, np.arange(len(table)) != 2))


def swapped(table: pa.Table) -> pa.Table:
    return table.take([1, 0, *range(2, len(table))])


def test_good_features_pass(run: Path) -> None:
    found = check_features(run / "features", run / "corpus")
    assert [(one.teacher, one.rows, one.dim, one.null, one.problems) for one in found] == [
        ("narrow", 120, 8, 0, []),
        ("wide", 120, 24, 0, []),
    ]


@pytest.mark.parametrize(
    ("change", "sign", "message"),
    [
        (doubled, True, "1 image vectors have another norm than 1, the first in row 4"),
        (emptied, True, "1 rows are null and do not say why"),
        (swapped, True, "the row ids differ"),
        (swapped, False, "data-00000-of-00003.arrow has another content than was written"),
    ],
)
def test_what_is_wrong_is_named(run: Path, change: Callable[[pa.Table], pa.Table], sign: bool, message: str) -> None:
    rewrite(run, change, sign)
    narrow, wide = check_features(run / "features", run / "corpus")
    assert any(message in problem for problem in narrow.problems), narrow.problems
    assert wide.problems == []


def test_null_rows_with_reasons_are_counted_and_good(run: Path) -> None:
    def explained(table: pa.Table) -> pa.Table:
        reasons = pa.array(["image cannot be decoded" if k == 2 else None for k in range(len(table))])
        return with_column(emptied(table), "reason", reasons)

    rewrite(run, explained)
    narrow = check_features(run / "features", run / "corpus", ["narrow"])[0]
    assert (narrow.null, narrow.reasons, narrow.problems) == (1, {"image cannot be decoded": 1}, [])


def test_features_of_another_corpus_are_refused(run: Path) -> None:
    manifest = json.loads((run / "corpus" / MANIFEST).read_text())
    (run / "corpus" / MANIFEST).write_text(json.dumps({**manifest, "digest": "0" * 64}))
    assert all("another corpus" in one.problems[0] for one in check_features(run / "features", run / "corpus"))


def test_unfinished_and_missing_features_are_told_apart(run: Path, tmp_path: Path) -> None:
    (run / "features" / "wide").rename(run / "features" / "wide.partial")
    assert [one.teacher for one in check_features(run / "features", run / "corpus")] == ["narrow", "wide"]
    (run / "features" / "wide.partial" / MANIFEST).unlink()
    assert "not finished" in check_features(run / "features", run / "corpus")[1].problems[0]
    with pytest.raises(DataError, match="no teacher's features in it"):
        check_features(tmp_path / "nowhere", run / "corpus")
    with pytest.raises(DataError, match="no features of 'narow'; did you mean 'narrow'"):
        check_features(run / "features", run / "corpus", ["narow"])


def test_the_command_exits_with_2_and_prints_json(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(run, doubled)
    monkeypatch.setattr("sys.argv", ["mmkd", "features", "check", str(run), "--json"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    found = json.loads(capsys.readouterr().out)
    assert [one["teacher"] for one in found] == ["narrow", "wide"]
    assert found[0]["problems"]
    assert not found[1]["problems"]
