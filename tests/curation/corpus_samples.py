"""Small images, archives and corpora that the corpus tests are made of."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.curation.curate import curate
from mmkd.curation.records.record import Excluded, Noted, Record, Rejected, Shard
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.stage import Stage, complete
from mmkd.settings import Machine
from tiny import REALDATA

HERE = Machine(workers=0)
needs_realdata = pytest.mark.skipif(
    not REALDATA.is_dir(), reason=f"no real test data at {REALDATA} (set MMKD_REALDATA to their folder)"
)


def noise(seed: int = 0, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """A picture that differs for every seed, smooth enough for JPEG."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), np.uint8)
    grown = [Image.fromarray(small[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(channels)]
    return np.stack([np.asarray(channel) for channel in grown], axis=-1)


def encoded(image: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def png(seed: int = 0, height: int = 32, width: int = 32) -> bytes:
    return encoded(noise(seed, height, width))


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def everything(shards: Iterable[Shard]) -> list[Record | Rejected]:
    """But what `include` does not select, and what is only noted."""
    return [found for shard in shards for found in shard.records() if not isinstance(found, Excluded | Noted)]


def records(shards: Iterable[Shard]) -> list[Record]:
    return [found for found in everything(shards) if isinstance(found, Record)]


def reasons(shards: Iterable[Shard]) -> list[tuple[str, str]]:
    """(where, reason) of what was rejected."""
    return [(found.where, found.reason) for found in everything(shards) if isinstance(found, Rejected)]


def settings_for(path: Path, **options: object) -> CurateSettings:
    source = {"kind": "table", "name": "t", "path": path}
    return CurateSettings.model_validate({"sources": [source], **options})


def table(folder: Path, rows: list[dict[str, str]], images: dict[str, bytes]) -> Path:
    write_files(folder, images)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "pairs.jsonl"


def many(folder: Path, count: int) -> Path:
    """A table of distinct pairs, four to a group."""
    rows = [
        {"id": f"r{i}", "image": f"{i}.png", "caption": f"finding {i}", "group": f"g{i // 4}"} for i in range(count)
    ]
    return table(folder, rows, {f"{i}.png": png(i) for i in range(count)})


def run(settings: CurateSettings, folder: Path, machine: Machine = HERE, seed: int = 7) -> Corpus:
    made_from = settings.model_dump(mode="json")
    complete(Stage("corpus", folder, made_from), lambda partial: curate(settings, partial, machine, seed))
    return Corpus(folder)


def shard_digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("data-*.arrow"))}


TABLE_RECIPE = """
name = "r"
[student]
model = "ViT-B-32"
[evaluate]
datasets = ["all"]
data_root = "/nowhere"
[[teachers]]
name = "t"
model = "hf-hub:nobody/nothing"
[curate]
{curate}
[[curate.sources]]
kind = "table"
path = "{path}"
"""  # of which only the curation is asked for
