"""Digests of bytes, files, folders, JSON values and texts; those of large files are remembered."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmkd.folders.atomic import write_json

CACHE = "MMKD_CACHE"
REMEMBERED_BYTES = 16 * 2**20  # smaller files are hashed again by the next process: that takes milliseconds


def bytes_digest(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def hash64(text: str) -> int:
    """64-bit number of a text, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def json_digest(value: Any, sort_keys: bool = False) -> str:
    """SHA-256 of a JSON value; what is no JSON counts as its text."""
    return bytes_digest(json.dumps(value, sort_keys=sort_keys, default=str).encode())


def file_digest(path: Path) -> str:
    """SHA-256 of one file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(folder: Path, files: Iterable[Path], remember: bool = False) -> str:
    """SHA-256 over the names below the folder and the bytes of these files, in the order of their names."""
    digest = remembered_digest if remember else file_digest
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(bytes.fromhex(digest(path)))
    return total.hexdigest()


def remembered_digest(path: Path) -> str:
    """`file_digest` of a file that changes seldom, as weights do: read again only when its size or a time differs.

    Digests of large files are kept below `cache_root()`, so that the next process does not read them either.
    """
    found = path.stat()
    return _remembered(path.resolve(), (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))


@lru_cache(maxsize=4096)
def _remembered(path: Path, state: tuple[int, ...]) -> str:
    if state[0] < REMEMBERED_BYTES:
        return file_digest(path)
    note = cache_root() / "digests" / f"{bytes_digest(os.fsencode(path))[:32]}.json"
    if (known := _read_note(note)) and known[:-1] == list(state):
        return str(known[-1])
    digest = file_digest(path)
    with contextlib.suppress(OSError):  # nowhere to keep it: the next process reads the file again
        write_json(note, [*state, digest])
    return digest


def _read_note(note: Path) -> list[Any]:
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def cache_root() -> Path:
    """What mmkd keeps for all runs of a user: `$MMKD_CACHE`, or `~/.cache/mmkd`."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "mmkd")
