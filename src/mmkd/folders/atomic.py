"""Files that are there whole or not at all."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
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
    try:
        with draft.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:  # a full disk: give back what the draft took
        draft.unlink(missing_ok=True)
        raise
    draft.replace(path)


def draft_of(path: Path) -> Path:
    """Where this process, and no other of any machine, writes a file before it gets its name."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
