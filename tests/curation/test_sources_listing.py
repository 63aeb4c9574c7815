"""Listing of folders: the order of sorted(), in little memory."""

import os
import pickle
import tracemalloc
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import write_files

from mmkd.curation.settings.sources import DicomSource, FoldersSource
from mmkd.curation.sources.dicom_series import DicomReader, DicomShard
from mmkd.curation.sources.folders import FoldersReader, FoldersShard
from mmkd.errors import DataError
from mmkd.folders.listing import Names, files_by_folder, files_in_order

PIECES = ["a", "b", "-", ".", " ", "/", "0", "é", "a/", "~", "_"]


def by_hand(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """All paths at once, then sorted."""
    return sorted(
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(suffixes)
        and not any(part.startswith(".") for part in (Path(parent) / name).relative_to(folder).parts)
    )


def grown(folder: Path, seed: int) -> Path:
    """A tree with names that sort otherwise as paths than folder by folder: "a b", "a-b", "a.png", "a/b"."""
    generator = np.random.default_rng(seed)
    for _ in range(150):
        name = "".join(generator.choice(PIECES, int(generator.integers(1, 7)))).replace("//", "/").strip("/")
        path = Path(os.path.normpath(folder / (name or "a")))
        path = path.with_name(path.name + str(generator.choice([".png", ".PNG", ".txt", "", "-"])))
        if folder in path.parents and not path.is_dir() and all(not part.is_file() for part in path.parents):
            write_files(path.parent, {path.name: b""})
    return folder


@pytest.mark.parametrize("seed", range(8))
def test_files_come_in_the_order_of_their_sorted_paths(tmp_path: Path, seed: int) -> None:
    folder = grown(tmp_path / "root", seed)
    for suffixes in [("",), (".png", ".txt")]:
        expected = by_hand(folder, suffixes)
        assert len(expected) > 20
        assert list(files_in_order(folder, suffixes)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_a_folder_s_own_files_stand_together(tmp_path: Path, seed: int) -> None:
    folder = grown(tmp_path / "root", seed)
    expected = sorted(by_hand(folder, ("",)), key=lambda name: (name.rpartition("/")[0], name))
    found = files_by_folder(folder)
    assert list(chain.from_iterable(found)) == expected
    assert [len({os.path.dirname(name) for name in names}) for names in found] == [1] * len(found)
    shards = DicomReader(DicomSource(kind="dicom", name="d", path=folder)).shards()
    numbered = [(shard.first + place, name) for shard in shards if isinstance(shard, DicomShard)
                for place, name in enumerate(shard.files)]  # fmt: skip
    assert numbered == list(enumerate(expected))


def test_links_to_folders_and_what_is_foreign_are_left_out(tmp_path: Path) -> None:
    write_files(tmp_path / "root", {"a/1.png": b"", ".hidden/2.png": b"", "a/.3.png": b""})
    left_behind = [
        ".ipynb_checkpoints/1-checkpoint.png",
        "__MACOSX/a/1.png",
        "a/._1.png",
        "a/Thumbs.db",
        "a/desktop.ini",
    ]
    write_files(tmp_path / "root", dict.fromkeys(left_behind, b""))
    (tmp_path / "root/link").symlink_to(tmp_path / "root/a")
    (tmp_path / "root/a/gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "root/a/1.png link.png").symlink_to(tmp_path / "root/a/1.png")
    expected = ["a/1.png", "a/1.png link.png", "a/gone.png"]
    assert list(files_in_order(tmp_path / "root", (".png",))) == expected
    assert list(chain.from_iterable(files_by_folder(tmp_path / "root"))) == expected


def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(os.fsencode(tmp_path / "a") + b"/\xff.png", "wb"):
        pass
    expected = ["a/\udcff.png"]
    assert list(files_in_order(tmp_path, (".png",))) == list(Names.of(expected)) == expected


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    for listed in (lambda folder: list(files_in_order(folder, (".png",))), files_by_folder):
        with pytest.raises(DataError, match="no such folder"):
            listed(tmp_path / "gone")
        with pytest.raises(DataError, match="no file"):
            listed(tmp_path)


def test_packed_names_are_as_a_tuple() -> None:
    plain = ("a", "b/c d", "")
    names = Names.of(plain)
    assert (tuple(names), len(names), repr(names)) == (plain, 3, repr(plain))
    assert names == Names.of(list(plain)) == pickle.loads(pickle.dumps(names))
    assert (tuple(Names.of([])), len(Names.of([]))) == ((), 0)
    source = FoldersSource(kind="folders", name="f", path=Path("x"))
    shown = repr(FoldersShard(source, 0, names))  # it is part of what a kept part is called
    assert shown == f"FoldersShard(source={source!r}, first=0, files=('a', 'b/c d', ''), classes=(), others=())"


def test_shards_hold_a_few_bytes_a_name(tmp_path: Path) -> None:
    write_files(tmp_path, {f"class {i % 4}/article/PMC{7_000_000 + i}_figure_{i % 9}.jpg": b"" for i in range(6000)})
    reader = FoldersReader(FoldersSource(kind="folders", name="f", path=tmp_path))
    tracemalloc.start()
    shards = reader.shards()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(shards) == 6
    assert held < 20 * 6000  # as text each is 95 bytes
    assert peak < 150 * (1500 + 3 * 1024)  # of a folder, of a shard's text
