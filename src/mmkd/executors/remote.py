"""What a worker does first that an engine has started, maybe on another machine, and where its output goes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from mmkd.output import calm_libraries

TAIL = 4000  # characters of an engine's own log that are kept


def begin() -> None:
    """As `processes.begin_worker`, for a process whose end its engine sees to."""
    import pyarrow as pa

    calm_libraries()
    pa.set_cpu_count(1)  # the workers are the parallelism


def print_to(log: Path) -> None:
    """From now on, all that this process prints goes to this file alone, also from C libraries."""
    stream = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
    for number in (1, 2):
        os.dup2(stream, number)
    os.close(stream)


@contextmanager
def copied_to(log: Path) -> Iterator[None]:
    """What Python prints in the block goes to this file too, beside where the engine has it go."""
    before = sys.stdout, sys.stderr
    with log.open("a", buffering=1) as copy:
        sys.stdout, sys.stderr = _Both(before[0], copy), _Both(before[1], copy)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


class _Both:
    """A stream whose text is also written to another one; that the other cannot be written to stops nobody."""

    def __init__(self, stream: TextIO, copy: TextIO) -> None:
        self._stream, self._copy = stream, copy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._copy.write(text)
        return self._stream.write(text)


def add_to_log(log: Path, text: str) -> None:
    """What a driver knows of a worker's end, in the log that messages name. Left out where the folder is gone."""
    with suppress(OSError), log.open("a") as stream:
        stream.write(text.rstrip() + "\n")


def end_of(path: Path) -> str:
    """The last characters of a log; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace")[-TAIL:]
    except OSError:
        return ""
