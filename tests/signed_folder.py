"""Finished folders that a test has changed, as if they had been written so."""

import json
from pathlib import Path

from mmkd.folders.intact import list_files
from mmkd.folders.stage import MANIFEST


def sign(folder: Path) -> None:
    """List the files anew, which else are refused as damaged."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = list_files(folder, (MANIFEST,), folder)[1]
    (folder / MANIFEST).write_text(json.dumps(manifest))
