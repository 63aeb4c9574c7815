"""Whether the files of a finished folder are those that were written.

A finished folder lists its files in `files.json`, with size and SHA-256; its manifest holds the digest of the list. A
file is read again only when its size or a time is another than when it was last read: these are kept below
`cache_root()`. What tells how the making went, such as times, is no content and not in the list.
"""

import json
import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmkd.errors import DataError
from mmkd.folders.digests import bytes_digest, cache_root, file_digest, read_note, state_of, write_note
from mmkd.progress import say

FILES = "files.json"
LOG = "log.json"
LOGS = (LOG, "metrics.jsonl", "tensorboard/*", "wandb*")
ANNOUNCED_BYTES = 2**32  # to be read again: a line says so, as it takes seconds
SHOWN = 3  # damaged files that a message names
State = list[int]  # of a file, as `state_of` gives it
Listed = dict[str, tuple[int, str]]  # name below the folder -> bytes, SHA-256


def list_files(folder: Path, leave_out: tuple[str, ...], home: Path) -> tuple[Listed, str]:
    """Write `files.json`; returns what it holds, and its digest. home: the folder's final place, where its files count
    as read. leave_out: names of files of the folder itself that are not listed."""
    listed, seen = Listed(), dict[str, State]()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in (*leave_out, FILES) and not any(fnmatch(name, pattern) for pattern in LOGS):
            seen[name] = state_of(path)
            listed[name] = seen[name][0], file_digest(path)
    data = json.dumps(listed, indent=0).encode()
    (folder / FILES).write_bytes(data)
    write_note(_note(home), [bytes_digest(data), seen])
    return listed, bytes_digest(data)


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise DataError that names the damaged files of a finished folder, and what to do. Once a process; of torchrun's
    processes the first one looks."""
    if os.environ.get("RANK", "0") == "0":
        _check(folder.resolve(), manifest.get("files", ""))


@lru_cache(maxsize=4096)
def _check(folder: Path, files: str) -> None:
    found = list(damage(folder, files))
    if found:
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise DataError(
            f"{folder} is damaged: {'; '.join(found[:SHOWN])}{more}. Copy it back from where it is whole, or delete it "
            "and run again, which makes it anew"
        )


def damage(folder: Path, files: str, everything: bool = False) -> Iterator[str]:
    """A sentence for every file that is not as it was written. files: digest of the list, "" where there is none.

    everything: read all files, also those that seem unchanged.
    """
    if not files:
        return
    data = (folder / FILES).read_bytes() if (folder / FILES).is_file() else b""
    if bytes_digest(data) != files:
        yield f"{FILES} is not the list of its files that was written"
        return
    listed: Listed = json.loads(data)
    known = {} if everything else _known(folder, files)
    states = {name: _state(folder / name) for name in listed}
    changed = [name for name, state in states.items() if state is None or state != known.get(name)]
    size = sum(listed[name][0] for name in changed)
    if size >= ANNOUNCED_BYTES:
        say(f"{folder}: {size / 1e9:.1f} GB are read, to see whether they are as they were written")
    bad = {name: what for name in changed if (what := _damage(folder / name, states[name], *listed[name]))}
    yield from (f"{name} {what}" for name, what in bad.items())
    if changed:
        write_note(_note(folder), [files, {name: state for name, state in states.items() if name not in bad}])


def _damage(path: Path, state: State | None, size: int, digest: str) -> str:
    if state is None:
        return "is missing"
    if state[0] != size:
        return f"has {state[0]:,} bytes, but {size:,} were written"
    return "" if file_digest(path) == digest else "has another content than was written"


def _state(path: Path) -> State | None:
    try:
        return state_of(path)
    except OSError:
        return None


def _known(folder: Path, files: str) -> dict[str, State]:
    """Name of a file -> its state when it was last read."""
    match read_note(_note(folder)):
        case [str(of), dict(seen)] if of == files:
            return seen
    return {}


def _note(folder: Path) -> Path:
    return cache_root() / "folders" / f"{bytes_digest(os.fsencode(folder.resolve()))[:32]}.json"
