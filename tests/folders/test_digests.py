"""Digests: of bytes, files, folders and JSON; large files are read once."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from mmkd.folders import digests
from mmkd.folders.digests import bytes_digest, file_digest, folder_digest, json_digest, remembered_digest


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = hashlib.sha256(b"abc").hexdigest()
    assert bytes_digest(b"abc") == file_digest(tmp_path / "a") == remembered_digest(tmp_path / "a") == known
    assert json_digest({"b": 1, "a": Path("x")}) == bytes_digest(b'{"b": 1, "a": "x"}')
    assert json_digest({"b": 1, "a": 2}, sort_keys=True) == json_digest({"a": 2, "b": 1}, sort_keys=True)


def test_a_folder_digest_follows_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    found = folder_digest(tmp_path, [tmp_path / "b", tmp_path / "a"])
    parts = [name + b"\0" + hashlib.sha256(data).digest() for name, data in ((b"a", b"abc"), (b"b", b""))]
    assert found == bytes_digest(b"".join(parts))
    (tmp_path / "b").rename(tmp_path / "c")
    assert folder_digest(tmp_path, [tmp_path / "a", tmp_path / "c"]) != found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read; all count as large."""
    found: list[Path] = []
    real = file_digest

    def reading(path: Path) -> str:
        found.append(path)
        return real(path)

    monkeypatch.setattr(digests, "file_digest", reading)
    monkeypatch.setattr(digests, "REMEMBERED_BYTES", 0)
    return found


def test_a_file_is_read_again_only_when_it_has_changed(tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert remembered_digest(path) == remembered_digest(path) == bytes_digest(b"one")
    digests._remembered.cache_clear()  # as the next process begins
    assert remembered_digest(path) == bytes_digest(b"one")
    assert len(reads) == 1
    state = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))  # the same size and time: the inode's time tells
    assert remembered_digest(path) == bytes_digest(b"two")
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["", "{}", "[1, 2]", "no"])
def test_a_damaged_note_is_as_none(damage: str, tmp_path: Path, reads: list[Path]) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    remembered_digest(path)
    (note,) = (digests.cache_root() / "digests").iterdir()
    assert json.loads(note.read_text())[-1] == bytes_digest(b"one")
    note.write_text(damage)
    digests._remembered.cache_clear()
    assert remembered_digest(path) == bytes_digest(b"one")
    assert len(reads) == 2


def test_without_a_place_for_notes_files_are_read_again(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MMKD_CACHE", str(tmp_path / "file"))
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    for _ in range(2):
        assert remembered_digest(path) == bytes_digest(b"one")
        digests._remembered.cache_clear()
    assert len(reads) == 2
