"""Shards that outlive the run that read them, so that the next run reads only what is new.

A cached shard holds all facts of each record of its shard, wanted or not, and is named by everything that decides its
bytes: the source of what reads and describes records, its tables of facts, the settings by which records are read, and
the content of the shard.
Every run decides anew, from its columns, what is wanted; it reads no source and decodes no image for that.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

import mmkd
from mmkd.curation.cached_records import CACHED, cached_records, reading_settings, rows_to_cache
from mmkd.curation.records.notes import with_notes
from mmkd.curation.records.record import Reader, Shard, Stamped
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.shards import (
    PAIRS,
    FilteredShard,
    Hands,
    batches_of,
    each_shard,
    with_progress,
    write_filtered,
)
from mmkd.folders.arrow import read_shard, write_shard
from mmkd.folders.atomic import draft_of
from mmkd.folders.digests import bytes_digest, folder_digest, json_digest

DECIDED_LATER: Mapping[str, Any] = {
    "sources": True,  # those of a shard are part of the shard
    "modality": True,
    "captions": {"language": True, "mention": True},
    "filters": True,
    "duplicates": True,
    "decontaminate": True,
    "decontaminate_radius": True,
    "decontaminate_correlation": True,
    "val": True,
    "max_rejected": True,
    "shard_rows": True,
    "cache_shards": True,
}
"""Settings that leave a cached shard as it is. When one changes that is not named here, all shards are read anew,
unless `reading_settings` leaves it open."""
FACTS = {  # table of facts -> its package; the names stand in manifests
    "modalities.toml": "mmkd.modalities",
    "captions/drawn.toml": "mmkd.curation",
    "captions/languages.toml": "mmkd.curation",
    "dicom_terms.toml": "mmkd.curation.sources",
}
CODE = ("corpus", "curation", "folders", "images", "modalities", "tables")  # packages that decide what a record becomes
ROWS = pa.schema([field for field in PAIRS if field.name != "image"] + [("row", pa.int32())])


def tables() -> dict[str, str]:
    """File in the package -> SHA-256, of the tables by which records are judged: they may change within a version."""
    return {f"mmkd/{name}": bytes_digest(files(package).joinpath(name).read_bytes()) for name, package in FACTS.items()}


def code_digest() -> str:
    """SHA-256 of the source that cached shards are made by: it changes within a version, too."""
    root = Path(mmkd.__file__).parent
    return folder_digest(root, (path for package in CODE for path in (root / package).rglob("*.py")))


def cache_folder(partial: Path) -> Path:
    """Where the cached shards of a corpus are: beside its folder, of which `partial` is the unfinished one."""
    return partial.with_name(f"{partial.name.removesuffix('.partial')}.cache")


def cache_names(shards: Sequence[tuple[Reader, Shard]], settings: CurateSettings) -> list[str]:
    """A file name for each shard that changes with its content and with how it is read."""
    reading = reading_settings(settings).model_dump_json(exclude=dict(DECIDED_LATER))
    common = [code_digest(), metadata.version("pillow"), CACHED.to_string(), json.dumps(tables()), reading]
    whole: dict[int, str] = {}  # the source's, where its shards have none of their own
    names = []
    for reader, shard in shards:
        if not isinstance(shard, Stamped) and id(reader) not in whole:
            whole[id(reader)] = reader.fingerprint()
        content = shard.fingerprint() if isinstance(shard, Stamped) else whole[id(reader)]
        names.append(f"{json_digest([*common, repr(shard), content])[:32]}.arrow")
    return names


def filter_cached_shards(shards: Sequence[FilteredShard], settings: CurateSettings, hands: Hands) -> None:
    """Read the shards that are not cached yet, then filter all of them; as `shards.filter_shards`."""
    each_shard("read", cache_shard, [(shard, shard.images) for shard in shards], settings, hands)
    each_shard("filter", filter_cached_shard, [(shard, shard.pairs) for shard in shards], settings, hands)


def cache_shard(shard: FilteredShard, settings: CurateSettings) -> None:
    """Write a cached shard, whole or not at all."""
    home = shard.images
    draft = draft_of(home)
    rows = rows_to_cache(with_progress(with_notes(shard.shard.records())), reading_settings(settings))
    write_shard(draft, CACHED, batches_of(rows, CACHED))
    draft.replace(home)


def filter_cached_shard(shard: FilteredShard, settings: CurateSettings) -> None:
    """As `shards.filter_shard`; a batch of rows is in memory, and no image."""
    batches = read_shard(shard.images).drop_columns("image").to_batches()
    rows = with_progress(chain.from_iterable(batch.to_pylist() for batch in batches))
    write_filtered(shard, ROWS, cached_records(rows), settings)


def prune(folder: Path, shards: Sequence[FilteredShard]) -> None:
    """Delete all files of the folder that are not of these shards."""
    current = {shard.images for shard in shards}
    for path in folder.iterdir():
        if path not in current:
            path.unlink()
