"""Locks on folders, which the system releases even after kill -9."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.progress import say

FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE_S = 0.2  # `is_owned` holds a lock for an instant


def is_owned(folder: Path) -> bool:
    """Whether some process works on the folder now, as far as this file system can tell.

    A shared lock on the file as it is: it needs no permission to write, and leaves no file where nobody has worked.
    """
    try:
        lock = os.open(_lock_of(folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # nobody has ever worked on it
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there are no locks here
        return False
    finally:
        os.close(lock)
    return False


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def sole_owner(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock. wait: for another process to be done. Raises ConfigError where another one holds it."""
    from filelock import FileLock, Timeout  # here: commands that only show would wait for its import

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_of(folder), timeout=-1 if wait else PATIENCE_S, fallback_to_soft=False)
    with ExitStack() as held:
        try:
            held.enter_context(lock)
        except Timeout:
            raise ConfigError(f"another process is working on {folder}; wait for it or choose another --out") from None
        except OSError as error:
            if _lock_of(folder).is_symlink():
                raise ConfigError(f"{_lock_of(folder)} is a link, which is not followed; remove it") from None
            if error.errno in FULL:
                raise
            # some network file systems have no locks; files still appear whole or not at all
            say(f"{folder.parent}: no file locks here ({error.strerror}); let only one run work on it at a time")
        yield
