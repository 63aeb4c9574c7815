"""Paths and files below a folder: never outside it, and read only up to a limit."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from mmkd.folders.listing import files_in_order
from mmkd.folders.regular import open_regular
from mmkd.reasons import BadRecordError, Reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
ROOT_CURE = '; to read files from there, name a folder above them: root = "/folder"'
MAX_FILE_BYTES = 256 * 2**20  # of one encoded image; more than any figure, less than a worker's memory


def read_inside(folder: Path, name: str, root: Path | None = None, cure: str = "") -> bytes:
    """The bytes of the file `name` below `folder`, or below `root`. cure: what to do where it is elsewhere.

    Raises BadRecordError when it is a URL, leads outside the folder (absolute, `..` or symbolic link), is missing, no
    regular file, or larger than MAX_FILE_BYTES.
    """
    path = path_inside(folder, name, root, cure)
    try:
        if (size := os.stat(path).st_size) > MAX_FILE_BYTES:
            raise BadRecordError(Reason.OVERSIZED_FILE, f"{name}: {size:,} bytes, at most {MAX_FILE_BYTES:,} are read")
        with open_regular(path) as stream:
            return stream.read()
    except BadRecordError as bad:
        raise BadRecordError(bad.reason, bad.detail if name in bad.detail else f"{name}: {bad.detail}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise BadRecordError(
            Reason.MISSING_FILE, f"{name}: not to be read below the source's folder ({type(error).__name__})"
        ) from None


def path_inside(folder: Path, name: str, root: Path | None = None, cure: str = "") -> str:
    """The real path of `name` below `folder`, or below `root`. Backslashes part folders where no file has them in its
    name. Raises BadRecordError when it is elsewhere or a URL."""
    if "://" in name:
        raise BadRecordError(Reason.OUTSIDE_FOLDER, f"{name}: a URL; download the images and name the files")
    try:
        path = os.path.realpath(os.path.join(folder, name))
        if "\\" in name and not os.path.exists(path):
            path = os.path.realpath(os.path.join(folder, name.replace("\\", "/")))
        allowed = [os.path.join(os.path.realpath(one), "") for one in (folder, root) if one is not None]
    except (OSError, ValueError) as error:
        raise BadRecordError(Reason.MISSING_FILE, f"{name!r}: {error}") from None
    if not path.startswith(tuple(allowed)):
        allowed_in = f"{folder}" if root is None else f"{folder} and root = {str(root)!r}"
        raise BadRecordError(Reason.OUTSIDE_FOLDER, f"{name}: leads outside {allowed_in}{cure}")
    return path


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[str]:
    """As `listing.files_in_order`, all at once."""
    return list(files_in_order(folder, suffixes))


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts `part-2` before `part-10`; names that differ in leading zeros alone as text."""
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if place % 2 else piece for place, piece in enumerate(pieces)], name


def stamp_of(path: Path) -> str:
    """Size and time of a file: a copy of it counts as another, an edit is never missed."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def fingerprint_of_files(folder: Path, names: Iterable[str]) -> str:
    """Digest over names and sizes: cheap enough for millions of files, blind to edits that keep the size."""
    total = hashlib.sha256()
    for name in names:
        total.update(f"{name}\0{os.stat(os.path.join(folder, name)).st_size}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
