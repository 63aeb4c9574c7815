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
    except OSError as error:  # a full disk: give back what the draft took
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if error.errno:  # a write does not say where
            error.filename = error.filename or str(path)
        raise


def draft_of(path: Path) -> Path:
    """Where this process, and no other of any machine, writes a file before it gets its name."""
    return path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.tmp")
