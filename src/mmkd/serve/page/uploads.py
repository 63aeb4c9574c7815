"""Files that a browser sent: read into memory and deleted at once; decoded as everywhere in mmkd."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.serve.engine.limits import RequestError
from mmkd.serve.engine.service import Service
from mmkd.serve.page.views import SHOWN_PX, Shown, shown


@dataclass(frozen=True)
class Upload:
    """An encoded picture that was found to be readable."""

    name: str
    data: bytes
    shown: Shown


def taken(paths: Sequence[str], folder: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of the files, which are no longer on the disk afterwards. folder: that holds nothing else."""
    files = [Path(path) for path in paths]
    try:
        return [(path.name, path.read_bytes()) for path in files]
    finally:
        for path in files:
            below = path.resolve().relative_to(folder.resolve()).parts
            shutil.rmtree(folder / below[0], ignore_errors=True) if len(below) > 1 else path.unlink(missing_ok=True)


def readable(
    files: Sequence[tuple[str, bytes]], service: Service, size: int = SHOWN_PX
) -> tuple[list[Upload], list[str]]:
    """The pictures among the files, and of each other file what is wrong with it."""
    uploads, wrong = [], []
    for name, data in files:
        try:
            uploads.append(Upload(name, data, shown(name, service.read(data), size)))
        except RequestError as error:
            wrong.append(f"{name}: {error}")
    return uploads, wrong
