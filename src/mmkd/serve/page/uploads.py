"""Files that a browser sent: read into memory and deleted at once; decoded as everywhere in mmkd."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd.serve.engine.limits import RequestError
from mmkd.serve.engine.service import Service
from mmkd.serve.page.views import SHOWN_PX, Shown, shown


@dataclass(frozen=True)
class Upload:
    """An encoded picture that was found to be readable."""

    name: str
    data: bytes
    shown: Shown


def taken(sent: Sequence[Mapping[str, Any]], folder: Path) -> list[tuple[str, bytes]]:
    """Names and bytes of the files, which are no longer on the disk afterwards.

    sent: as Gradio describes them. folder: where it puts them, each in a folder of its own.
    """
    files = [Path(one["path"]).resolve() for one in sent]
    try:
        return [(one.get("orig_name") or path.name, path.read_bytes()) for one, path in zip(sent, files, strict=True)]
    finally:
        for path in files:
            shutil.rmtree(folder / path.relative_to(folder.resolve()).parts[0], ignore_errors=True)


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
