from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import png, reasons, records, write_files

from mmkd.curation.settings.sources import AnySource, HubSource
from mmkd.curation.sources.hub import HubReader, HubShard
from mmkd.curation.sources.kinds import READERS
from mmkd.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def reader(path: Path | str, **options: object) -> HubReader:
    return HubReader(HubSource.model_validate({"kind": "datasets", "name": "h", "path": str(path), **options}))


def saved(folder: Path) -> Path:
    from datasets import Dataset, Image

    rows = {"image": [{"bytes": png(i), "path": None} for i in range(70)], "text": [f"t{i}" for i in range(70)]}
    data = Dataset.from_dict(rows | {"site": ["a", "b"] * 35}).cast_column("image", Image())
    data.save_to_disk(str(folder))
    return folder


def test_a_saved_data_set_is_read_without_decoding(tmp_path: Path) -> None:
    found = records(reader(saved(tmp_path / "d"), columns={"caption": "text"}).shards())
    assert [(r.id, r.caption) for r in found] == [(f"h_{i:08d}", f"t{i}") for i in range(70)]
    assert found[69].image == png(69)


def test_only_and_columns_work_as_in_tables(tmp_path: Path) -> None:
    path = saved(tmp_path / "d")
    found = records(reader(path, columns={"caption": "text", "group": "site"}, include={"site": ["b"]}).shards())
    assert {r.group for r in found} == {"b"}
    assert found[0].id == "h_00000001"
    with pytest.raises(ConfigError, match="no column 'caption' among image, text, site"):
        reader(path).shards()


def test_a_folder_of_parquet_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    pq.write_table(pa.table({"image": [png(1), png(2)], "caption": ["a", "b"]}), folder / "train.parquet")
    assert [r.image for r in records(reader(folder).shards())] == [png(1), png(2)]
    with pytest.raises(DataError, match="cannot open split 'test'"):
        reader(folder, split="test").shards()


def test_images_by_path_stay_inside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    lines = '{"image": "a.png", "caption": "x"}\n{"image": "../b.png", "caption": "y"}\n'
    write_files(tmp_path, {"d/a.png": png(), "b.png": png(), "d/train.jsonl": lines.encode()})
    (folder / "a.png").rename(folder / "a.tmp")  # or `datasets` takes it for a folder of images
    shards = reader(folder).shards()
    (folder / "a.tmp").rename(folder / "a.png")
    assert [r.caption for r in records(shards)] == ["x"]
    assert [reason for _, reason in reasons(shards)] == ["outside_folder"]
    rooted = HubShard(reader(folder, root=tmp_path).source, 0, 2)
    assert [r.caption for r in records([rooted])] == ["x", "y"]


def test_the_fingerprint_is_that_of_the_data(tmp_path: Path) -> None:
    from datasets import load_from_disk

    assert reader(saved(tmp_path / "d")).fingerprint() == load_from_disk(str(tmp_path / "d"))._fingerprint


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: `datasets` cannot open"):
        reader(tmp_path / "gone").shards()


def test_every_kind_of_source_has_a_reader() -> None:
    kinds = {kind.model_fields["kind"].annotation for kind in get_args(get_args(AnySource)[0])}
    assert {get_args(kind)[0] for kind in kinds} == set(READERS)
