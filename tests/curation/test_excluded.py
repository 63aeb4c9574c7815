"""Records that `include` does not select: counted for every kind of source, also when a run is killed; never listed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import HERE, TABLE_RECIPE, png, run, table, write_files, write_tar
from dicom_samples import dicom
from test_sources_nifti import volume
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import curate
from mmkd.curation.ledger.rows import write_curation
from mmkd.curation.plan import plan_curation
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import REJECTIONS, FilteredShard, excluded_of, filter_shard
from mmkd.curation.sources.kinds import READERS
from mmkd.distributed import T, World
from mmkd.errors import DataError
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.report.curation import PAGE, write_ledger
from mmkd.tables import text as text_tables

BAD = b"no picture"
SITES = ("a", "a", "b", "a", "b", "b", "b")  # the fourth is damaged; those of "b" are excluded
WANTED = {"site": ["a"]}
SAID = {"templates": ["an image of {name}"]}


def rows(folder: Path) -> list[dict[str, str]]:
    write_files(folder, {f"{i}.png": BAD if i == 3 else png(i) for i in range(len(SITES))})
    return [
        {"id": f"r{i}", "image": f"{i}.png", "caption": f"finding {i}", "site": site} for i, site in enumerate(SITES)
    ]


def as_table(folder: Path) -> dict[str, Any]:
    return {"path": table(folder, rows(folder), {}), "include": WANTED}


def as_folders(folder: Path) -> dict[str, Any]:
    write_files(folder, {f"{site}/{i}.png": BAD if i == 3 else png(i) for i, site in enumerate(SITES)})
    return {"path": folder, "include": {"class": ["a"]}, **SAID}


def as_webdataset(folder: Path) -> dict[str, Any]:
    members = []
    for row in rows(folder):
        picture = (folder / row["image"]).read_bytes()
        members += [(row["image"], picture), (f"{row['image'][0]}.txt", row["caption"].encode())]
        members += [(f"{row['image'][0]}.json", json.dumps(row).encode())]
    return {"path": write_tar(folder / "x.tar", members), "include": WANTED}


def as_npz(folder: Path) -> dict[str, Any]:
    labels = np.array([[9 if i == 3 else "ab".index(site)] for i, site in enumerate(SITES)], np.uint8)
    images = np.random.default_rng(0).integers(0, 256, (len(SITES), 20, 20), np.uint8)
    np.savez(folder / "x.npz", train_images=images, train_labels=labels)
    return {"path": folder / "x.npz", "classes": ["a", "b"], "splits": ["train"], "include": {"class": ["a"]}, **SAID}


def as_datasets(folder: Path) -> dict[str, Any]:
    from datasets import Dataset

    Dataset.from_list(rows(folder)).save_to_disk(str(folder / "saved"))
    write_files(folder / "saved", {f"{i}.png": BAD if i == 3 else png(i) for i in range(len(SITES))})
    return {"path": str(folder / "saved"), "include": WANTED}


def as_reference(folder: Path) -> dict[str, Any]:
    named = [{"imgpath": row["image"], "txt": row["caption"], **row} for row in rows(folder)]
    (folder / "meta.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    return {"path": folder, "include": WANTED}


def as_dicom(folder: Path) -> dict[str, Any]:
    part = {"a": "CHEST", "b": "KNEE"}
    for i, site in enumerate(SITES):
        dicom(folder / f"{site}/{i}", site, i, BodyPartExamined=part[site])
    (folder / "a/3").write_bytes(bytes(128) + b"DICM\x01")
    return {"path": folder, "include": {"body_part": ["chest"]}}


def as_nifti(folder: Path) -> dict[str, Any]:
    """A slice a volume, so that a volume is a record."""
    values = np.random.default_rng(0).normal(size=(len(SITES), 20, 20, 1)).astype(np.float32)
    for i, site in enumerate(SITES):
        volume(folder / f"{site}/{i}.nii", values[i])
    (folder / "a/3.nii").write_bytes(b"no volume")
    return {"path": folder, "include": {"class": ["a"]}, **SAID}


LAYOUTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "table": as_table,
    "folders": as_folders,
    "webdataset": as_webdataset,
    "npz": as_npz,
    "datasets": as_datasets,
    "reference": as_reference,
    "dicom": as_dicom,
    "nifti": as_nifti,
}


def funnel(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "funnel.json").read_text())
    return found


@pytest.mark.parametrize("cache_shards", [False, True])
@pytest.mark.parametrize("kind", READERS)
def test_what_a_source_holds_is_kept_rejected_or_excluded(tmp_path: Path, kind: str, cache_shards: bool) -> None:
    (tmp_path / "in").mkdir()
    source = {"kind": kind, "name": "s", **LAYOUTS[kind](tmp_path / "in")}
    made = {
        "sources": [source],
        "cache_shards": cache_shards,
        "max_rejected": 0.34,
    }  # left out ones are not in the share
    folder = run(CurateSettings.model_validate(made), tmp_path / "out").folder
    (told,) = funnel(folder)["sources"].values()
    assert (told["read"], told["kept"], sum(told["rejected"].values()), told["excluded"]) == (3, 2, 1, 4)
    assert funnel(folder)["total"].items() >= {"read": 3, "kept": 2, "rejected": 1, "excluded": 4}.items()
    assert told["kept"] + sum(told["rejected"].values()) + told["excluded"] == len(SITES)
    assert len(Corpus(folder)) == 2
    assert pq.read_table(folder / "rejected.parquet").num_rows == 1
    assert write_curation(folder) == 3


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine shards of two rows, of which every third row is wanted."""
    monkeypatch.setattr(text_tables, "ROWS_PER_SHARD", 2)
    told = [{"image": f"{i % 3}.png", "caption": f"finding {i}", "site": "a" if i % 3 == 0 else "b"} for i in range(18)]
    return table(tmp_path, told, {f"{i}.png": png(i) for i in range(3)})


def settings_of(path: Path, **options: object) -> CurateSettings:
    return CurateSettings.model_validate(
        {"sources": [{"kind": "table", "name": "t", "path": path, "include": WANTED}], **options}
    )


def test_a_killed_run_counts_them_once(tmp_path: Path, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings_of(long), tmp_path / "whole")
    made: list[int] = []

    def stops_at_the_fifth(shard: FilteredShard, settings: CurateSettings) -> None:
        made.append(shard.number)
        if len(made) == 5:
            raise KeyboardInterrupt
        filter_shard(shard, settings)

    monkeypatch.setattr("mmkd.curation.shards.filter_shard", stops_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        run(settings_of(long), tmp_path / "cut")
    run(settings_of(long), tmp_path / "cut")
    assert len(made) == 10
    assert funnel(tmp_path / "cut") == funnel(tmp_path / "whole")
    assert funnel(tmp_path / "cut")["total"]["excluded"] == 12


class Here(World):
    """One of several processes, whose others are called one after the other."""

    def wait(self) -> None:
        """Nobody to wait for."""

    def agree(self, value: T) -> T:
        return value


@pytest.mark.parametrize("cache_shards", [False, True])
def test_processes_that_share_the_shards_count_what_one_does(tmp_path: Path, long: Path, cache_shards: bool) -> None:
    settings = settings_of(long, cache_shards=cache_shards)
    run(settings, tmp_path / "alone")
    (tmp_path / "shared").mkdir()
    for rank in (1, 0):
        curate(settings, tmp_path / "shared", HERE, 7, world=Here(rank=rank, size=2))
    assert funnel(tmp_path / "shared") == funnel(tmp_path / "alone")
    assert funnel(tmp_path / "shared")["sources"]["t"] == {"read": 6, "kept": 6, "rejected": {}, "excluded": 12}


def test_cached_shards_know_them_without_reading(tmp_path: Path, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(settings_of(long, cache_shards=True), tmp_path / "out")
    before = funnel(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "before")
    monkeypatch.setattr("mmkd.curation.sources.tables.TableShard.records", None)
    run(settings_of(long, cache_shards=True), tmp_path / "out")
    assert funnel(tmp_path / "out") == before


def test_a_shard_without_the_count_is_not_taken_for_one_of_none(tmp_path: Path) -> None:
    shard = FilteredShard(0, None, tmp_path)  # type: ignore[arg-type]
    write_shard(shard.rejected, REJECTIONS, [])
    assert read_shard(shard.rejected).num_rows == 0
    with pytest.raises(DataError, match=r"made by an older mmkd; delete .* and curate again"):
        excluded_of(shard)


def test_a_dry_run_does_not_take_them_for_records(tmp_path: Path) -> None:
    settings = CurateSettings.model_validate({"sources": [{"kind": "table", "name": "t", **as_table(tmp_path)}]})
    (plan,) = plan_curation(settings)
    assert (plan.records, plan.looked_at, plan.excluded) == (3, 3, 4)


def test_commands_and_page_tell_them(tmp_path: Path) -> None:
    path = as_table(tmp_path)["path"]
    recipe = TABLE_RECIPE.format(curate="", path=path) + 'name = "t"\ninclude = { site = ["a"] }\n'
    (tmp_path / "r.toml").write_text(recipe)
    asked = ["curate", str(tmp_path / "r.toml"), "--out", str(tmp_path / "run"), "--set", "machine.workers=0"]
    assert "t: 4 more records are excluded by include" in CliRunner().invoke(app, [*asked, "--dry-run"]).stdout
    assert "3 read, 2 kept, 1 rejected, 4 excluded" in CliRunner().invoke(app, asked).stdout
    corpus = str(tmp_path / "run/corpus")
    assert json.loads(CliRunner().invoke(app, ["corpus", "stats", corpus, "--json"]).stdout)["excluded"] == {"t": 4}
    told = CliRunner().invoke(app, ["corpus", "stats", corpus]).stdout
    assert "4 records excluded by include or part, which are no pairs: t 4" in told
    page = (tmp_path / "run/corpus" / PAGE).read_text()
    assert "3 records were read and 2 kept (66.7%)" in page
    assert "4 more in the sources were excluded by include" in page
    first, second = (page.index(f'<th scope="row">{step}</th>') for step in ("include", "source"))
    assert first < second
    assert "excluded by include" in page[first:second]


def test_a_page_without_them_does_not_speak_of_them(tmp_path: Path) -> None:
    folder = run(
        CurateSettings.model_validate(
            {"sources": [{"kind": "table", "name": "t", "path": as_table(tmp_path)["path"]}]}
        ),
        tmp_path / "out",
    ).folder
    write_ledger(folder, "x")
    assert "were excluded by include" not in (folder / PAGE).read_text()
