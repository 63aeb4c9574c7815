"""Locks on folders, which the system gives back even after kill -9."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmkd.errors import ConfigError
from mmkd.progress import say


def is_owned(folder: Path) -> bool:
    """Whether some process works on the folder now, as far as this file system can tell."""
    try:
        with _lock_of(folder).open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # nobody has ever worked on it, or there are no locks here
        return False
    return False


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def sole_owner(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock, which the system gives back even after kill -9. wait: for another process to be done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock_of(folder).open("w") as stream:
        try:
            _lock(stream, wait)
        except BlockingIOError:
            raise ConfigError(f"another process is working on {folder}; wait for it or choose another --out") from None
        except OSError as error:  # some network file systems have no locks; files still appear whole or not at all
            say(f"{folder.parent}: no file locks here ({error.strerror}); let only one run work on it at a time")
        yield


def _lock(stream: IO[str], wait: bool) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:  # it may only be asked for, as `is_owned` does for an instant
        time.sleep(0.05)
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
