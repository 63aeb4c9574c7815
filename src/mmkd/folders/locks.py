"""Locks on folders, which the system releases even after kill -9; leases where a file system has no locks."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.folders.leases import PACE, Watch, beats_of, holder_of, is_gone, take

FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE_S = 0.2  # `is_owned` holds a lock for an instant


def is_owned(folder: Path) -> bool:
    """Whether some process works on the folder now, as far as this file system can tell.

    A shared lock on the file as it is: it needs no permission to write, and leaves no file where nobody has worked. A
    lease counts until it is broken, unless its holder is known to have ended.
    """
    if holder := holder_of(_lease_of(folder)):
        return not is_gone(holder)
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


def _lease_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lease")


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
            raise _is_taken(folder) from None
        except OSError as error:
            if _lock_of(folder).is_symlink():
                raise ConfigError(f"{_lock_of(folder)} is a link, which is not followed; remove it") from None
            if error.errno in FULL:
                raise
            held.enter_context(_leased(folder, wait))  # some network file systems have no locks
        yield


@contextmanager
def _leased(folder: Path, wait: bool) -> Iterator[None]:
    """Hold the folder's lease. Whoever has it is waited for until its next beat, or until it is stale."""
    pace = PACE
    path, watch = _lease_of(folder), Watch(pace)
    who = f"{socket.gethostname()}, process {os.getpid()}"
    first = None
    while (lease := take(path, who, pace)) is None:
        now = beats_of(path)
        first = now if first is None else first
        if not wait and now is not None and now != first:
            raise _is_taken(folder)
        watch.break_stale(path)
        time.sleep(min(PATIENCE_S, pace.beat_s / 4))
    try:
        yield
    finally:
        lease.release()


def _is_taken(folder: Path) -> ConfigError:
    return ConfigError(f"another process is working on {folder}; wait for it or choose another --out")
