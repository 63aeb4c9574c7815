"""What sources without a name are called, and that one more renames no other."""

import re
from pathlib import Path
from typing import Any

import pytest
from corpus_samples import many, png, table, write_files
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from test_shard_cache import again

from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import AnySource
from mmkd.curation.sources.names import name_of, named_sources
from mmkd.curation.sources.tables import TableShard
from mmkd.errors import ConfigError


def source(kind: str, path: object, **more: object) -> AnySource:
    told: dict[str, Any] = {"kind": kind, "path": path, **({"classes": ["a"]} if kind == "npz" else {}), **more}
    found: AnySource = TypeAdapter(AnySource).validate_python(told)
    return found


@pytest.mark.parametrize(
    ("kind", "path", "name"),
    [
        ("table", "/data/rocov2/train_captions.csv", "train_captions"),
        ("table", "/data/roco/pairs.csv", "roco"),
        ("table", "/x/recipes/../roco/data/train/metadata.jsonl", "roco"),
        ("table", "/data/pmc_oa/parts/*.parquet", "pmc_oa"),
        ("table", "pairs.csv", "table"),
        ("folders", "/real/classify/blood cells/Train", "blood_cells"),
        ("folders", "/real/Ma\u0308use", "M\u00e4use"),
        ("webdataset", "/archives/biomedica-v1.2", "biomedica-v1.2"),
        ("webdataset", "/archives/0001.tar.gz", "0001"),
        ("npz", "/medmnist/bloodmnist.npz", "bloodmnist"),
        ("datasets", "owner/slake#1", "slake_1"),
        ("nifti", "../..", "nifti"),
        ("dicom", "/clinic/DOE^JOHN", "dicom"),  # who says so nowhere else either
    ],
)
def test_a_source_is_called_after_what_it_reads(kind: str, path: str, name: str) -> None:
    assert name_of(source(kind, path)) == name


def test_of_two_with_one_name_the_user_is_asked_for_another() -> None:
    first, second = source("table", "a/train.csv"), source("folders", "b/a/train")
    with pytest.raises(
        ConfigError, match=r"'a' is taken twice, by sources 1 \(table, path 'a/train.csv'\) and 3 .*name ="
    ):
        named_sources(CurateSettings(sources=[first, source("table", "c.csv"), second]))
    other = CurateSettings(sources=[first, source("folders", "b/a/train", name="b")])
    assert [one.name for one in named_sources(other)] == ["a", "b"]


PATHS = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, max_size=4)


@given(parts=PATHS)
def test_names_are_safe_in_ids(parts: list[str]) -> None:
    name = name_of(source("table", "/".join(parts)))
    assert re.fullmatch(r"[\w.-]+", name)
    assert name.isprintable()
    assert name.strip("_.-") == name


def test_an_inserted_source_renames_no_other_and_reads_none_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "x", {"cyst/1.png": png(11), "scar/2.png": png(12)})
    (tmp_path / "new").mkdir()
    rows = [{"kind": "table", "path": many(tmp_path, 3)}, {"kind": "folders", "path": tmp_path / "x"}]
    kept = ("id", "source", "group", "split")
    corpus = again(tmp_path / "out", list(rows))
    before = list(zip(*(corpus.column(name) for name in kept), strict=True))
    reads: list[TableShard] = []
    records = TableShard.records
    monkeypatch.setattr(TableShard, "records", lambda shard: (reads.append(shard), records(shard))[1])
    monkeypatch.setattr("mmkd.curation.sources.folders.FoldersShard.records", None)
    added = table(tmp_path / "new", [{"id": "n0", "image": "0.png", "caption": "a new one"}], {"0.png": png(20)})
    more: dict[str, object] = {"kind": "table", "path": added}
    corpus = again(tmp_path / "out", [more, *rows])
    assert [shard.source.name for shard in reads] == ["new"]
    after = list(zip(*(corpus.column(name) for name in kept), strict=True))
    assert [one for one in after if one[1] != "new"] == before
    assert [one[0] for one in after][-2:] == ["x/cyst/1.png", "x/scar/2.png"]
