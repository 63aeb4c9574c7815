"""Paths and files below a folder: never outside it, and read only up to a limit."""

import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from unicodedata import normalize

from mmkd.folders.listing import files_in_order
from mmkd.folders.regular import open_regular
from mmkd.reasons import BadRecordError, Reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
ROOT_CURE = '; to read files from there, name a folder above them: root = "/folder"'
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
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
        if isinstance(error, FileNotFoundError):
            raise BadRecordError(Reason.MISSING_FILE, no_such_file(folder, name)) from None
        raise BadRecordError(
            Reason.MISSING_FILE, f"{name}: not to be read below the source's folder ({type(error).__name__})"
        ) from None


def path_inside(folder: Path, name: str, root: Path | None = None, cure: str = "") -> str:
    """The real path of `name` below `folder`, or below `root`. Backslashes part folders where no file has them in its
    name. Where there is no such file, letters with accents may be spelled in another normal form. Raises
    BadRecordError when it is elsewhere or a URL.
    """
    if "://" in name:
        raise BadRecordError(Reason.OUTSIDE_FOLDER, f"{name}: a URL; download the images and name the files")
    try:
        path = os.path.realpath(os.path.join(folder, name))
        if "\\" in name and not os.path.exists(path):
            path = os.path.realpath(os.path.join(folder, name.replace("\\", "/")))
        if not name.isascii() and not os.path.exists(path):
            spelled = _spelled_on_disk(folder, name)
            if spelled and normalize("NFC", spelled) == normalize("NFC", name.replace("\\", "/")):
                path = os.path.realpath(os.path.join(folder, spelled))
        allowed = [os.path.join(os.path.realpath(one), "") for one in (folder, root) if one is not None]
    except (OSError, ValueError) as error:
        raise BadRecordError(Reason.MISSING_FILE, f"{name!r}: {error}") from None
    if not path.startswith(tuple(allowed)):
        allowed_in = f"{folder}" if root is None else f"{folder} and root = {str(root)!r}"
        raise BadRecordError(Reason.OUTSIDE_FOLDER, f"{name}: leads outside {allowed_in}{cure}")
    return path


def no_such_file(folder: Path, name: str) -> str:
    """What to say of a file that is not there, and what to do where the name is a near miss; the same wherever the
    folder lies, since it stands in the corpus."""
    if _DRIVE.match(name):
        there = 'the source\'s folder, or alone, with the folder in images = "/folder/{}" (of a table)'
        return f"{name}: a path on a Windows computer, with its drive; name the file as it lies below {there}"
    spelled = _spelled_on_disk(folder, name)
    return f"{name}: no such file below the source's folder" + (f"; there is {spelled!r}" if spelled else "")


def _spelled_on_disk(folder: Path, name: str) -> str:
    """The path below the folder that differs from the name in capitals and normal forms alone; "" where none does."""
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or "" in parts:
        return ""
    found: list[str] = []
    for part in parts:
        above = os.path.join(folder, *found)
        try:
            names = _names_in(above, os.stat(above).st_mtime_ns)
        except (OSError, ValueError):
            return ""
        alike = names.get(_plain(part), [])
        same = [one for one in alike if normalize("NFC", one) == normalize("NFC", part)]
        if not alike:
            return ""
        found.append((same or alike)[0])
    return "/".join(found)


@lru_cache(maxsize=16)
def _names_in(folder: str, changed_ns: int) -> dict[str, list[str]]:
    """Plain spelling -> names, as long as the folder stays as it is."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):
        found.setdefault(_plain(name), []).append(name)
    return found


def _plain(name: str) -> str:
    return normalize("NFC", name).casefold()


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
