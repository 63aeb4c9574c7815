"""Which files are read: none that a system left, none outside an archive, and only regular ones.

A named pipe or a device would be waited for, for ever.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from mmkd.reasons import BadRecordError, Reason

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
NEVER_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

FOREIGN = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "@eadir", "lost+found"}
"""What systems leave in folders, in small letters; beside names that begin with a dot."""


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name was put there by a system or a program: it is no sample and holds none."""
    return name.startswith(".") or name.lower() in FOREIGN


def is_inside(name: str) -> bool:
    """Whether an archive member's name stays below the folder it would be unpacked into."""
    return not name.startswith("/") and ".." not in name.split("/")


def open_regular(path: str | Path) -> BinaryIO:
    """The file, to be read; links are followed. Raises BadRecordError where it is none, OSError as `open` does."""
    check_regular(path)
    stream = os.fdopen(os.open(path, os.O_RDONLY | NEVER_WAITING), "rb")
    try:
        _check(os.fstat(stream.fileno()).st_mode)  # it may have been replaced since
    except BadRecordError:
        stream.close()
        raise
    return stream


def check_regular(path: str | Path) -> None:
    """For files that a library opens by their path. Raises as `open_regular`, nothing for folders."""
    _check(os.stat(path).st_mode)


def irregular(path: str | Path) -> str:
    """For messages: which of KINDS it is, "" for files, folders and what is not there."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: a NUL byte in the name
        return ""
    return next((f"{name}, which is not opened" for is_kind, name in KINDS if is_kind(mode)), "")


def _check(mode: int) -> None:
    for is_kind, name in KINDS:
        if is_kind(mode):
            raise BadRecordError(Reason.OTHER_FILE, f"{name}, which is not opened; expected a regular file")
