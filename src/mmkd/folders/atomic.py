"""Files that are there whole or not at all."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    with atomic_file(path) as stream:
        stream.write(json.dumps(value, indent=1, default=str).encode())


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when it is whole and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = draft_of(path)
    draft.unlink(missing_ok=True)  # of a process that was killed and had this one's number, or put there by somebody
    try:
        with draft.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except BaseException as error:  # a full disk, Ctrl-C: give back what the draft took
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # a write does not say where
            error.filename = error.filename or str(path)
        raise


def remove_drafts(*paths: Path) -> None:
    """What processes of this machine that were killed have left of these files. For a command's own results: it reads
    their folders once."""
    for folder in {path.parent for path in paths}:
        names = tuple(f".{path.name}.{socket.gethostname()}-" for path in paths if path.parent == folder)
        for draft in folder.glob(".*.tmp"):
            number = draft.name.removesuffix(".tmp").rpartition("-")[2]
            if draft.name.startswith(names) and number.isdecimal() and not _is_alive(int(number)):
                with suppress(OSError):
                    draft.unlink(missing_ok=True)


def may_be_written(draft: Path) -> bool:
    """Whether a process may still write this `.*.tmp`: a living one of this machine, or one of another machine."""
    head, dash, number = draft.name.removesuffix(".tmp").rpartition("-")
    if not dash or not number.isdecimal() or "." not in head.lstrip("."):
        return False
    return _is_alive(int(number)) if head.endswith(f".{socket.gethostname()}") else True


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user
        return True
    return True


def draft_of(path: Path) -> Path:
    """Where this process, and no other of any machine, writes a file before it gets its name."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
