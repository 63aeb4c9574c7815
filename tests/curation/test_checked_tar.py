"""Tars that are made to be read for ever, or to fill the memory."""

import gzip
import tarfile
from pathlib import Path

import pytest

from mmkd.curation.sources.tar_samples import DamagedTarError, samples

BLOCK = 512


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    """A header that claims `size`, and the content."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if size is not None:
        header[124:136] = size.to_bytes(12, "big", signed=True)  # as GNU tar writes numbers beyond eight octal digits
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % BLOCK)


def read(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content + bytes(2 * BLOCK))
    return keys_in(path)


def keys_in(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return [key for key, _ in samples(stream)]


def test_a_member_that_leads_back_ends_the_tar(tmp_path: Path) -> None:
    sound = member("a.txt", b"x" * BLOCK) + member("b.txt", b"y")
    assert read(tmp_path / "sound.tar", sound) == ["a", "b"]
    with pytest.raises(DamagedTarError, match="claims -1,536 bytes"):
        read(tmp_path / "back.tar", sound + member("c.txt", b"", size=-3 * BLOCK))


def test_many_headers_before_a_member_end_the_tar(tmp_path: Path) -> None:
    with pytest.raises(DamagedTarError, match="recursion"):
        read(tmp_path / "deep.tar", member("x", b"a name", tarfile.GNUTYPE_LONGNAME) * 3000)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_are_not_unpacked_without_limit(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "large.tar.gz"
    path.write_bytes(gzip.compress(member("a.txt", b"x") + member("b", bytes(2**20), kind)))
    with pytest.raises(DamagedTarError, match="claims 1,048,576 bytes"):
        keys_in(path)
