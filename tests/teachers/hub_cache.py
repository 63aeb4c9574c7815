"""An entry of the zoo, and the hub's cache with its files, as the hub's client leaves it."""

import os
from pathlib import Path
from typing import Any

from mmkd.teachers.zoo.entry import ZooEntry

COMMIT = "c0ffee" + "0" * 34
OLDER = "01d" + "1" * 37


def entry(**changes: Any) -> ZooEntry:
    facts = {
        "name": "some-clip",
        "title": "SomeCLIP",
        "paper": "arXiv 0000.00000",
        "modalities": ["x-ray"],
        "licence": "MIT",
        "use": "commercial",
        "adapter": "open_clip",
        "dim": 8,
        "context_length": 16,
        "preprocess": {"size": 32},
        "weights": {"repo": "lab/some-clip", "files": [["model.safetensors"], ["image.pth", "text (1).pth"]]},
        "text": {"repo": "lab/some-bert", "files": [["tokenizer.json"], ["vocab.txt"]]},
    }
    return ZooEntry(**{**facts, **changes})


def touch(folder: Path, *names: str) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return tuple(folder / name for name in names)


def fake_cache(cache: Path, repo: str, *names: str, kind: str = "models", commit: str = COMMIT) -> Path:
    """Laid out as the hub's client does; returns the snapshot's folder."""
    home = cache / f"{kind}--{repo.replace('/', '--')}"
    (home / "refs").mkdir(parents=True, exist_ok=True)
    (home / "refs" / "main").write_text(COMMIT)
    snapshot = home / "snapshots" / commit
    for name in names:
        (home / "blobs").mkdir(exist_ok=True)
        blob = home / "blobs" / f"{len(list((home / 'blobs').iterdir())):064x}"
        blob.write_text(name)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    return snapshot
