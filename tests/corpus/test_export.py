"""What is exported is read back to the same pairs: by our own sources, by a plain tar reader, by `datasets`."""

import csv
import json
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpus_samples import encoded, noise, records, run, settings_for, table
from test_schema import without

from mmkd.corpus.export.export import LAYOUTS, export_corpus
from mmkd.corpus.export.layout import METADATA, image_suffix, pairs_of, pieces
from mmkd.corpus.schema import COLUMNS, NEUTRAL, Corpus
from mmkd.curation.records.record import Record
from mmkd.curation.settings.sources import HubSource, TableSource, WebDatasetSource
from mmkd.curation.sources.hub import HubReader
from mmkd.curation.sources.tables import TableReader
from mmkd.curation.sources.webdataset import WebDatasetReader
from mmkd.errors import ConfigError, DataError

AWKWARD = (
    'tabs\t"quotes" and, commas',
    "Größe 3 µm → 5 µm",
    "=1+1 is no formula",
    "'single'",
    "a {curly} $5 to $6 one",
)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Eleven pairs in both splits, with ids, captions and picture formats of many kinds."""
    kinds = ("PNG", "JPEG", "WEBP")
    rows = [
        {"id": f"../a/b.{i}", "image": f"{i}.img", "caption": f"{AWKWARD[i % 5]} {i}", "group": f"g{i}",
         "modality": "ct", "licence": "CC BY"}
        for i in range(11)
    ]  # fmt: skip
    images = {f"{i}.img": encoded(noise(i), kinds[i % 3]) for i in range(11)}
    return run(settings_for(table(tmp_path, rows, images), val=0.4, shard_rows=4), tmp_path / "corpus")


def exported(corpus: Corpus, layout: str, **options: Any) -> Path:
    out = corpus.folder.parent / "out"
    export_corpus(corpus.folder, layout, out, pairs_per_shard=3, **options)
    return out


def facts(found: Iterable[Record]) -> set[tuple[object, ...]]:
    return {(one.image, one.caption if isinstance(one.caption, str) else one.caption.decode(), one.modality, one.group,
             one.licence) for one in found}  # fmt: skip


def expected(corpus: Corpus, split: str | None = None) -> set[tuple[object, ...]]:
    rows = corpus.take(corpus.rows(split) if split else range(len(corpus))).to_pylist()
    return {(row["image"]["bytes"], row["caption"], row["modality"], row["group"], row["licence"]) for row in rows}


@pytest.mark.parametrize("split", ["train", "val", None])
def test_webdataset_comes_back_to_the_same_pairs(corpus: Corpus, split: str | None) -> None:
    out = exported(corpus, "webdataset", split=split)
    found = records(WebDatasetReader(WebDatasetSource(kind="webdataset", name="w", path=out)).shards())
    assert facts(found) == expected(corpus, split)
    assert len(found) == len(corpus.rows(split) if split else corpus)


def test_tars_are_open_clips(corpus: Corpus) -> None:
    out = exported(corpus, "webdataset")
    for split in ("train", "val"):
        sizes = json.loads((out / split / "sizes.json").read_text())
        assert sizes.keys() == {path.name for path in (out / split).glob("*.tar")}
        assert sum(sizes.values()) == len(corpus.rows(split))
        stats = {path.name: json.loads(path.read_text()) for path in (out / split).glob("*_stats.json")}
        assert {name.replace("_stats.json", ".tar"): one["successes"] for name, one in stats.items()} == sizes
        assert all(one["status_dict"] == {"success": one["count"]} for one in stats.values())
        for name, size in sizes.items():
            samples: dict[str, dict[str, bytes]] = {}
            with tarfile.open(out / split / name) as tar:
                for member in tar:
                    key, _, extension = member.name.partition(".")
                    stream = tar.extractfile(member)
                    assert stream is not None
                    samples.setdefault(key, {})[extension] = stream.read()
            assert list(samples) == sorted(samples)
            assert len(samples) == size
            rows = pq.read_table((out / split / name).with_suffix(".parquet")).to_pylist()
            for (key, files), row in zip(samples.items(), rows, strict=True):
                told = json.loads(files["json"])
                assert (told["key"], told["split"], told["caption"]) == (key, split, files["txt"].decode())
                assert told.keys() == {"key", "url", "status", "error_message", *METADATA}
                assert row == {**told, "modality_confidence": pytest.approx(told["modality_confidence"])}
                assert len(files) == 3


def test_parquet_comes_back_by_our_source_and_by_datasets(corpus: Corpus, tmp_path: Path) -> None:
    from datasets import Image, load_dataset

    out = exported(corpus, "parquet")
    (path,) = (out / "data").glob("validation-*")
    found = records(TableReader(TableSource(kind="table", name="p", path=path)).shards())
    assert facts(found) == expected(corpus, "val")
    assert {one.id for one in found} == {corpus.column("id")[row] for row in corpus.rows("val")}
    loaded = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {
        "train": len(corpus.rows("train")),
        "validation": len(corpus.rows("val")),
    }
    assert loaded["train"].column_names == list(COLUMNS)
    assert isinstance(loaded["train"].features["image"], Image)
    assert loaded["train"][0]["image"].size == (32, 32)
    hub = HubSource(kind="datasets", name="h", path=str(out / "data"), split="train")
    assert facts(records(HubReader(hub).shards())) == expected(corpus, "train")


def test_the_table_comes_back_and_is_open_clips(corpus: Corpus) -> None:
    out = exported(corpus, "csv")
    assert sorted(path.name for path in out.iterdir()) == [
        "files.json",
        "images",
        "log.json",
        "manifest.json",
        "train.tsv",
        "val.tsv",
    ]
    columns: dict[str, str | list[str]] = {"image": "filepath", "caption": "title"}
    for split in ("train", "val"):
        source = TableSource(kind="table", name="c", path=out / f"{split}.tsv", columns=columns)
        found = records(TableReader(source).shards())
        assert facts(found) == expected(corpus, split)
        assert {one.id for one in found} == {corpus.column("id")[row] for row in corpus.rows(split)}
        with (out / f"{split}.tsv").open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        assert all((out / row["filepath"]).is_file() and ".." not in row["filepath"] for row in rows)
        assert [row["title"] for row in rows] == [corpus.column("caption")[row] for row in corpus.rows(split)]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", "log.json")
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_killed_export_goes_on_after_its_last_whole_shard(
    corpus: Corpus, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    export_corpus(corpus.folder, name, whole, pairs_per_shard=2)
    layout = LAYOUTS[name]
    written: list[Any] = []

    def write_until_killed(corpus: Corpus, piece: Any, folder: Path) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(piece.rows.tolist())
        layout.write(corpus, piece, folder)

    monkeypatch.setitem(LAYOUTS, name, replace(layout, write=write_until_killed))
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        export_corpus(corpus.folder, name, out, pairs_per_shard=2)
    assert not out.exists()
    again: list[list[int]] = []

    def write_noted(corpus: Corpus, piece: Any, folder: Path) -> None:
        again.append(piece.rows.tolist())
        layout.write(corpus, piece, folder)

    monkeypatch.setitem(LAYOUTS, name, replace(layout, write=write_noted))
    export_corpus(corpus.folder, name, out, pairs_per_shard=2)
    assert files(out) == files(whole)
    assert sorted(row for rows in written + again for row in rows) == list(range(len(corpus)))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_kill_while_the_end_is_written_costs_nothing(
    corpus: Corpus, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    layout = LAYOUTS[name]

    def finish_and_be_killed(found: Any, folder: Path) -> None:
        layout.finish(found, folder)
        raise KeyboardInterrupt

    monkeypatch.setitem(LAYOUTS, name, replace(layout, finish=finish_and_be_killed))
    with pytest.raises(KeyboardInterrupt):
        export_corpus(corpus.folder, name, tmp_path / "out")
    monkeypatch.setitem(LAYOUTS, name, replace(layout, write=None))
    counts = export_corpus(corpus.folder, name, tmp_path / "out")["counts"]
    assert counts == {"train": len(corpus.rows("train")), "val": len(corpus.rows("val")), "shards": 2}


@pytest.mark.parametrize("name", LAYOUTS)
def test_older_corpora_are_exported_with_neutral_values(corpus: Corpus, name: str, tmp_path: Path) -> None:
    folder = without(corpus.folder, [*NEUTRAL, "caption_group"])
    counts = export_corpus(folder, name, tmp_path / "old", split="train")["counts"]
    assert counts["train"] == len(corpus.rows("train"))


@pytest.mark.parametrize("size", [1, 4, 11, 100])
def test_every_row_is_in_one_shard_under_one_key(corpus: Corpus, size: int) -> None:
    found = pieces(corpus, None, size)
    assert sorted(np.concatenate([piece.rows for piece in found]).tolist()) == list(range(11))
    for split in ("train", "val"):
        keys = [key for piece in found if piece.split == split for key, _, _ in pairs_of(corpus, piece)]
        assert keys == sorted(set(keys))
        assert all(key.isdecimal() and len(key) == 9 for key in keys)


def test_another_corpus_does_not_overwrite_an_export(corpus: Corpus, tmp_path: Path) -> None:
    out = exported(corpus, "csv")
    with pytest.raises(ConfigError, match="was made from other"):
        export_corpus(corpus.folder, "parquet", out)
    assert (out / "train.tsv").is_file()


def test_mistakes_are_explained(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'webdataset'"):
        export_corpus(corpus.folder, "webdatasets", tmp_path / "o")
    with pytest.raises(ConfigError, match="no split 'test'; a corpus has train, val"):
        pieces(corpus, "test")
    with pytest.raises(ConfigError, match="between 1 and 10,000"):
        pieces(corpus, None, 10_001)
    with pytest.raises(DataError, match=r"r1: its image begins b'GIF89a', which is no"):
        image_suffix(b"GIF89a", "r1")


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_suffixes_are_those_of_the_bytes(kind: str, suffix: str) -> None:
    assert image_suffix(encoded(noise(1), kind), "r") == suffix
