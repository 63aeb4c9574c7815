"""Records with one picture: where no group is given they are of one group, in whatever shard or source they stand."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import HERE, encoded, png, run, settings_for, shard_digests, table, write_files, write_tar

from mmkd.corpus.schema import Corpus, split_of
from mmkd.curation.ledger.statistics import corpus_statistics
from mmkd.curation.same_pictures import Members, group_holders
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.stage import read_manifest
from mmkd.images.hamming import Array
from mmkd.settings import Machine

FLAT = 9


def holders(rows: list[tuple[int, str, bool]]) -> dict[int, int]:
    """Of picture, group and whether it is given; the picture FLAT is flat."""
    picture_N, group_N, grouped_N = zip(*rows, strict=True)
    members = Members(
        np.array(picture_N, np.uint64),
        np.array([ord(group) for group in group_N], np.uint64),
        np.array(grouped_N),
    )

    def are_flat(place_B: Array) -> Array:
        return np.array([picture_N[place] == FLAT for place in place_B], bool)

    return dict(zip(*(places.tolist() for places in group_holders(members, are_flat)), strict=True))


def test_the_first_record_of_a_picture_gives_the_group_unless_one_is_given_for_it() -> None:
    assert holders([(1, "a", False), (2, "b", False), (3, "c", False)]) == {}
    assert holders([(1, "a", False), (2, "b", False), (1, "c", False), (1, "d", False)]) == {2: 0, 3: 0}
    assert holders([(1, "a", False), (1, "b", True), (1, "c", True), (1, "d", False)]) == {0: 1, 3: 1}
    assert holders([(1, "a", True), (1, "b", True)]) == {}
    # a group of its own with several pictures (panels, slices) stays whole: a and c by 2, c and d by 3
    assert holders([(1, "a", False), (2, "a", False), (2, "c", False), (3, "c", False), (3, "d", False)]) == {
        2: 1,
        3: 1,
        4: 1,
    }


def test_a_flat_picture_joins_single_records_but_no_volumes() -> None:
    assert holders([(FLAT, "a", False), (FLAT, "b", False)]) == {1: 0}
    assert holders([(1, "a", False), (FLAT, "a", False), (2, "b", False), (FLAT, "b", False)]) == {}
    assert holders([(1, "a", False), (FLAT, "a", False), (FLAT, "b", False), (FLAT, "c", False)]) == {3: 2}


def splits_of(corpus: Corpus) -> dict[str, set[str]]:
    """SHA-256 of a picture -> the splits that it is in."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for digest, split in zip(corpus.column("sha256"), corpus.column("split"), strict=True):
        found[digest].add(split)
    return found


def captioned(folder: Path, pictures: int, each: int = 3) -> Path:
    """A row per caption, no group: first all first captions, so that a picture's rows lie far apart."""
    rows = [{"image": f"{i}.png", "caption": f"{k}. caption of {i}"} for k in range(each) for i in range(pictures)]
    return table(folder, rows, {f"{i}.png": png(i) for i in range(pictures)})


@pytest.mark.parametrize("cached", [False, True])
def test_rows_of_one_picture_are_in_one_split(
    tmp_path: Path, cached: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = captioned(tmp_path, 20)
    settings = settings_for(path, val=0.5, cache_shards=cached)
    corpus = run(settings, tmp_path / "out")
    assert corpus.column("group") == [f"t_{i:08d}" for i in range(20)] * 3
    assert corpus.column("split") == [split_of(group, 0.5, 7) for group in corpus.column("group")]
    assert {len(splits) for splits in splits_of(corpus).values()} == {1}
    assert "40 records without a group have the picture of an earlier record" in capsys.readouterr().out
    counts = read_manifest(tmp_path / "out")["counts"]
    assert counts["in_group_of_same_picture"] == 40
    assert "pictures_in_both_splits" not in counts
    monkeypatch.setattr("mmkd.tables.text.ROWS_PER_SHARD", 7)  # many shards
    run(settings, tmp_path / "shards", Machine(workers=2))
    assert shard_digests(tmp_path / "shards") == shard_digests(tmp_path / "out")


def test_a_picture_takes_the_group_that_another_source_gives_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"classes/a/1.png": png(1), "classes/b/2.png": png(2)})
    tar = write_tar(tmp_path / "x.tar", [("k.png", png(1)), ("k.txt", b"axial"), ("k.json", b'{"group": "p1"}')])
    sources = [{"kind": "folders", "path": tmp_path / "classes"}, {"kind": "webdataset", "path": tar}]
    corpus = run(CurateSettings.model_validate({"sources": sources, "min_caption": 1}), tmp_path / "out")
    assert dict(zip(corpus.column("id"), corpus.column("group"), strict=True)) == {
        "classes/a/1.png": "p1",
        "classes/b/2.png": "classes/b/2.png",
        "x/x/k": "p1",
    }


def test_a_picture_under_several_given_groups_is_counted_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, val = ([f"p{i}" for i in range(20) if split_of(f"p{i}", 0.5, 7) == split] for split in ("train", "val"))
    rows = [
        {"image": "0.png", "caption": "one", "group": train[0]},
        {"image": "0.png", "caption": "two", "group": val[0]},
        {"image": "1.png", "caption": "one", "group": train[0]},
        {"image": "1.png", "caption": "two", "group": train[1]},
    ]
    path = table(tmp_path, rows, {"0.png": png(0), "1.png": png(1)})
    corpus = run(settings_for(path, val=0.5), tmp_path / "out", HERE)
    assert corpus.column("group") == [train[0], val[0], train[0], train[1]]
    assert json.loads((tmp_path / "out/funnel.json").read_text())["total"]["pictures_in_both_splits"] == 1
    assert "WARNING: 1 pictures are in both train and val" in capsys.readouterr().out
    assert corpus_statistics(tmp_path / "out").to_json()["images_in_both_splits"] == 1


def test_equal_empty_slices_join_no_volumes(tmp_path: Path) -> None:
    empty = encoded(np.zeros((32, 32, 3), np.uint8))
    rows = [{"image": f"{i}.png", "caption": ["first", "second"][i % 2]} for i in range(4)]
    path = table(tmp_path, rows, {"0.png": empty, "1.png": empty, "2.png": png(2), "3.png": png(3)})
    assert run(settings_for(path), tmp_path / "out").column("group") == [f"t_0000000{i}" for i in (0, 0, 2, 3)]
