"""Digests of bytes, files, folders, JSON values and texts; those of large files are remembered."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
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


def key_of(digest: str) -> int:
    """The first 64 bits of a SHA-256 in hexadecimal digits."""
    return int(digest[:16], 16)


def json_digest(value: Any, sort_keys: bool = False) -> str:
    """SHA-256 of a JSON value; what is no JSON counts as its text."""
    return bytes_digest(json.dumps(value, sort_keys=sort_keys, default=str).encode())


def file_digest(path: Path) -> str:
    """SHA-256 of one file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_digest(folder: Path, files: Iterable[Path], digest: Callable[[Path], str] = file_digest) -> str:
    """SHA-256 over the names below the folder and the digests of these files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        total.update(bytes.fromhex(digest(path)))
    return total.hexdigest()


def remembered_digest(path: Path) -> str:
    """`file_digest` of a file that changes seldom, as weights do: read again only when its size or a time differs.

    Digests of large files are kept below `cache_root()`, so that the next process does not read them either.
    """
    return _remembered(path.resolve(), tuple(state_of(path)))


def state_of(path: Path) -> list[int]:
    """Size, times and place of a file, which are others when it was written to."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


@lru_cache(maxsize=4096)
def _remembered(path: Path, state: tuple[int, ...]) -> str:
    if state[0] < REMEMBERED_BYTES:
        return file_digest(path)
    note = cache_root() / "digests" / f"{bytes_digest(os.fsencode(path))[:32]}.json"
    if (known := read_note(note)) and known[:-1] == list(state):
        return str(known[-1])
    digest = file_digest(path)
    write_note(note, [*state, digest])
    return digest


def read_note(note: Path) -> list[Any]:
    """What `write_note` left; nothing where it is missing or damaged."""
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def write_note(note: Path, value: list[Any]) -> None:
    """Keep what only saves work; where there is no place for it, the next process does that work again."""
    with contextlib.suppress(OSError):
        write_json(note, value)


def cache_root() -> Path:
    """What mmkd keeps for all runs of a user: `$MMKD_CACHE`, or `~/.cache/mmkd`."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "mmkd")
