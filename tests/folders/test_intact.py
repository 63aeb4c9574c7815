"""Damaged folders are refused with the file's name; whole ones are read once, and then only looked at."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.errors import DataError
from mmkd.folders import intact
from mmkd.folders.digests import bytes_digest, file_digest
from mmkd.folders.intact import FILES, LOG, damage
from mmkd.folders.stage import MANIFEST, Stage, complete, digest_of, read_log, read_manifest


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read as a whole."""
    found: list[str] = []

    def reading(path: Path) -> str:
        found.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(intact, "file_digest", reading)
    return found


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "cache"))

    def body(folder: Path) -> dict[str, int]:
        (folder / "deep").mkdir()
        (folder / "deep" / "data").write_bytes(bytes(range(256)) * 100)
        (folder / "text").write_text("hello")
        (folder / "metrics.jsonl").write_text("{}\n")
        return {"rows": 2}

    complete(Stage("test", tmp_path / "made", {}, outputs=("text",)), body)
    next_process()
    return tmp_path / "made"


def next_process() -> None:
    intact._check.cache_clear()


def flip(path: Path) -> None:
    """One bit in the middle; size and time stay."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_folder_lists_its_content_and_no_log(made: Path) -> None:
    listed = json.loads((made / FILES).read_text())
    data = bytes(range(256)) * 100
    assert listed == {"deep/data": [25600, bytes_digest(data)], "text": [5, bytes_digest(b"hello")]}
    manifest = read_manifest(made)
    assert manifest["files"] == bytes_digest((made / FILES).read_bytes())
    assert not {"wall_s", "peak_memory_mb"} & set(manifest)
    assert read_log(made)["wall_s"] >= 0
    assert json.loads((made / LOG).read_text()) == read_log(made)


def test_what_is_whole_is_not_read_again(made: Path, reads: list[str]) -> None:
    digest_of(made)
    assert reads == []  # it was read when it was written
    os.utime(made / "text")
    for _ in range(2):
        next_process()
        digest_of(made)
    assert reads == ["text"]
    moved = made.rename(made.with_name("moved"))
    for _ in range(2):
        next_process()
        digest_of(moved)
    assert reads == ["text", "data", "text"]
    assert list(damage(moved, read_manifest(moved)["files"], everything=True)) == []
    assert len(reads) == 5


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda folder: flip(folder / "deep" / "data"), "deep/data has another content than was written"),
    "cut": (lambda folder: os.truncate(folder / "text", 3), "text has 3 bytes, but 5 were written"),
    "removed": (lambda folder: (folder / "text").unlink(), "text is missing"),
    "replaced by a folder": (
        lambda folder: ((folder / "text").unlink(), (folder / "text").mkdir()),
        "text has [0-9,]+ bytes, but 5 were written",
    ),
    "without a list": (lambda folder: (folder / FILES).unlink(), "files.json is not the list"),
    "another list": (lambda folder: (folder / FILES).write_text("{}"), "files.json is not the list"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused_with_the_files_name_until_it_is_whole(made: Path, name: str) -> None:
    change, message = DAMAGES[name]
    shutil.copytree(made, made.with_name("kept"))
    change(made)
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{made} is damaged: {message}.*Copy it back .* or delete it and run"):
            digest_of(made)
    shutil.rmtree(made)
    made.with_name("kept").rename(made)
    assert digest_of(made) == read_manifest(made)["digest"]


def test_many_damaged_files_are_counted(made: Path) -> None:
    manifest = read_manifest(made)
    listed = {f"file-{number}": [1, "0" * 64] for number in range(1200)}
    (made / FILES).write_text(json.dumps(listed))
    files = bytes_digest((made / FILES).read_bytes())
    with pytest.raises(DataError, match=r"file-0 is missing; file-1 is missing; file-2 is missing and 1,197 more\. "):
        intact.check_files(made, {**manifest, "files": files})


def test_a_folder_of_before_has_no_list_and_is_read_as_it_is(made: Path) -> None:
    manifest = read_manifest(made)
    del manifest["files"]
    (made / MANIFEST).write_text(json.dumps({**manifest, "wall_s": 3}))
    (made / FILES).unlink()
    (made / LOG).unlink()
    assert digest_of(made) == manifest["digest"]
    assert read_log(made)["wall_s"] == 3


@pytest.mark.parametrize("note", ["", "[", "{}", "[1]", '["x", {}]', "[" * 100_000])
def test_a_damaged_note_costs_a_reading(made: Path, reads: list[str], note: str, tmp_path: Path) -> None:
    (place,) = (tmp_path / "cache" / "folders").iterdir()
    place.write_text(note)
    digest_of(made)
    assert reads == ["data", "text"]


def test_of_several_processes_the_first_one_looks(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(made / "text")
    monkeypatch.setenv("RANK", "1")
    digest_of(made)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(DataError, match="text has another content"):
        digest_of(made)
