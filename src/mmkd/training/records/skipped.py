"""`skipped.jsonl`: the steps whose loss or gradient was not finite, with the ids of their pairs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkd.folders.atomic import atomic_file

SKIPPED = "skipped.jsonl"


def list_skipped(folder: Path, skipped: Sequence[Mapping[str, Any]]) -> None:
    """Have the file list these steps and no others; without any there is no file."""
    if not skipped:
        (folder / SKIPPED).unlink(missing_ok=True)
        return
    with atomic_file(folder / SKIPPED) as stream:
        stream.write("".join(json.dumps(one) + "\n" for one in skipped).encode())


def count_skipped(folder: Path) -> int:
    """How many steps of the training in this folder were skipped."""
    path = folder / SKIPPED
    return len(path.read_text().splitlines()) if path.is_file() else 0
