"""Tar archives whose headers are looked at before `tarfile` follows them."""

import tarfile
from typing import Any

MAX_EXTENSION_BYTES = 2**14  # of a header with a long name or other facts, which is parsed in memory, slowly
EXTENSIONS = b"LKxgX"  # types of such headers


class CheckedHeader(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> "CheckedHeader":
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in EXTENSIONS and found.size > MAX_EXTENSION_BYTES):
            raise tarfile.ReadError(f"a header that claims {found.size:,} bytes")
        return found


class CheckedTar(tarfile.TarFile):
    """Raises tarfile.ReadError for extended headers that are too large, and for members that lead back to earlier
    ones, which `tarfile` would read for ever."""

    tarinfo = CheckedHeader

    def next(self) -> tarfile.TarInfo | None:
        member = super().next()
        if member is not None and self.offset <= member.offset:
            raise tarfile.ReadError(f"a member that ends at byte {self.offset:,}, before it begins")
        return member
