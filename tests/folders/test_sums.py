"""`SHA256SUMS`: what sha256sum writes is read, a change is found, and a hostile list is refused."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.errors import ModelError
from mmkd.folders.digests import REMEMBERED_BYTES
from mmkd.folders.sums import SUMS, check_sums, listed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, one below a folder with a space in its name, and the list that sha256sum makes of them."""
    (tmp_path / "in side").mkdir()
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "in side/b.bin").write_bytes(bytes(range(256)))
    names = ["a.json", "in side/b.bin"]
    done = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, text=True, check=True)
    (tmp_path / SUMS).write_text(done.stdout)
    return tmp_path


def test_the_list_of_sha256sum_is_read_as_text_and_as_binary(folder: Path) -> None:
    assert check_sums(folder)
    expected = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("a.json", "in side/b.bin")}
    assert listed(folder / SUMS) == expected
    done = subprocess.run(["sha256sum", "-b", *expected], cwd=folder, capture_output=True, text=True, check=True)
    (folder / SUMS).write_text(done.stdout)
    assert listed(folder / SUMS) == expected


def test_without_a_list_nothing_is_checked(tmp_path: Path) -> None:
    assert not check_sums(tmp_path)


def test_a_changed_and_a_missing_file_are_named(folder: Path) -> None:
    (folder / "a.json").write_text("[]")  # of the same size
    with pytest.raises(ModelError, match=r"a\.json has changed; the model is not loaded"):
        check_sums(folder)
    (folder / "in side/b.bin").unlink()
    with pytest.raises(ModelError, match=r"a\.json has changed, in side/b\.bin is missing"):
        check_sums(folder)


def test_a_large_file_is_read_again_when_its_time_is_put_back(tmp_path: Path) -> None:
    large = tmp_path / "weights"
    large.write_bytes(bytes(REMEMBERED_BYTES))
    before = large.stat()
    (tmp_path / SUMS).write_text(f"{hashlib.sha256(large.read_bytes()).hexdigest()}  weights\n")
    assert check_sums(tmp_path)
    with large.open("r+b") as stream:
        stream.write(b"\1")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelError, match="weights has changed"):
        check_sums(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../b", ""])
def test_a_name_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder / SUMS).write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(ModelError, match=r"line 1.*name of a file below"):
        check_sums(folder)


@given(st.text(max_size=200))
def test_any_text_is_a_list_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / SUMS
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        found = listed(path)
    except ModelError:
        return
    assert all(len(digest) == 64 and ".." not in Path(name).parts for name, digest in found.items())
