"""`SHA256SUMS` of a model's folder, as `sha256sum` writes it: a changed file is refused before the model is loaded."""

import re
import sys
from functools import cache
from pathlib import Path, PurePosixPath

from mmkd.errors import ModelError
from mmkd.folders.digests import remembered_digest
from mmkd.output import is_quiet

SUMS = "SHA256SUMS"
LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
SHOWN = 3  # changed files that a message names


def check_sums(folder: Path) -> bool:
    """Whether the folder has a list of sums; all files in it are then as they were when it was written.

    Large files are read once, and again when their size or a time has changed. Raises ModelError that names the files
    that are missing or changed, or the line that is none of such a list.
    """
    path = folder / SUMS
    if not path.is_file():
        return False
    bad = [what for name, digest in listed(path).items() if (what := _damage(folder / name, name, digest))]
    if bad:
        more = f" and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
        raise ModelError(
            f"{folder}: not the files that {SUMS} lists: {', '.join(bad[:SHOWN])}{more}; the model is not loaded. Copy "
            f"or export it again. Where the change is your own, take the line of the file out of {SUMS}"
        )
    return True


def listed(path: Path) -> dict[str, str]:
    """Name below the folder -> SHA-256. Raises ModelError for a line of another form or a name outside the folder."""
    found = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not readable ({error}); copy or export the model again") from error
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if match is None or _leads_outside(match[2]):
            raise ModelError(
                f"{path}, line {number}: {line[:100]!r}; expected a SHA-256, two spaces and the name of a file below "
                "the folder. Copy or export the model again"
            )
        found[match[2]] = match[1].lower()
    return found


@cache
def say_unchecked(folder: Path) -> None:
    """A line on standard error, once for each folder."""
    if not is_quiet():
        print(f"{folder}: no {SUMS} in it, so its files are not checked for changes", file=sys.stderr, flush=True)


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name


def _damage(path: Path, name: str, digest: str) -> str:
    if not path.is_file():
        return f"{name} is missing"
    return "" if remembered_digest(path) == digest else f"{name} has changed"
