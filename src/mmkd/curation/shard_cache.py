"""Parts that outlive the run that made them, so that the next run reads only what is new.

A kept part holds all that is known of each record of its shard, wanted or not, and is named by everything that decides
its bytes: the version of mmkd, its tables of facts, the settings by which records are read, and the content of the
shard. What is wanted is chosen anew by every run, from its columns; no source is read and no picture decoded for that.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

import mmkd
from mmkd.curation.known_rows import KNOWN, chosen, known_rows, loosest
from mmkd.curation.parts import PAIRS, Aside, Part, batches_of, each_part, tallied, write_pairs
from mmkd.curation.records.record import Excluded, Reader, Rejected, Shard, Stamped
from mmkd.curation.settings.curate import CurateSettings
from mmkd.folders.arrow import read_shard, write_shard

SELECTING: Mapping[str, Any] = {
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
    "keep_parts": True,
}
"""Settings that leave a part as it is. One that is not named here makes all parts anew when it changes, unless
`known.loosest` leaves it open."""
FACTS = {
    "mmkd.corpus": ("modalities.toml",),
    "mmkd.curation.captions": ("drawn.toml", "languages.toml"),
    "mmkd.curation.sources": ("dicom_terms.toml",),
}
CHOSEN = pa.schema([field for field in PAIRS if field.name != "image"] + [("row", pa.int32())])


def tables() -> dict[str, str]:
    """File in the package -> SHA-256, of the facts by which records are judged: they may change within a version."""
    return {
        f"mmkd/{name}": hashlib.sha256(files(package).joinpath(name).read_bytes()).hexdigest()
        for package, names in FACTS.items()
        for name in names
    }


def parts_folder(partial: Path) -> Path:
    """Where the parts of a corpus are kept: beside its folder, of which `partial` is the unfinished one."""
    return partial.with_name(f"{partial.name.removesuffix('.partial')}.parts")


def kept_names(shards: Sequence[tuple[Reader, Shard]], settings: CurateSettings) -> list[str]:
    """A file name for each shard that changes with its content and with how it is read."""
    reading = loosest(settings).model_dump_json(exclude=dict(SELECTING))
    done = [mmkd.__version__, KNOWN.to_string(), json.dumps(tables()), reading]
    whole: dict[int, str] = {}  # the source's, where its shards have none of their own
    names = []
    for reader, shard in shards:
        if not isinstance(shard, Stamped) and id(reader) not in whole:
            whole[id(reader)] = reader.fingerprint()
        content = shard.fingerprint() if isinstance(shard, Stamped) else whole[id(reader)]
        told = json.dumps([*done, repr(shard), content])
        names.append(f"{hashlib.sha256(told.encode()).hexdigest()[:32]}.arrow")
    return names


def make_kept_parts(parts: Sequence[Part], settings: CurateSettings, workers: int) -> None:
    """Read the shards whose kept part is not there yet, then choose from all of them; as `parts.make_parts`."""
    unread = [part for part in parts if not part.pictures.is_file()]
    each_part("curate", read_part, unread, settings, workers, done=len(parts) - len(unread))
    todo = [part for part in parts if not part.pairs.is_file()]
    each_part("choose", choose_part, todo, settings, workers, done=len(parts) - len(todo))


def read_part(part: Part, settings: CurateSettings) -> None:
    """Write a kept part, whole or not at all."""
    home = part.pictures
    draft = home.with_name(f"{home.stem}.{os.getpid()}.draft")
    rows = known_rows(tallied(part.shard.records()), loosest(settings))
    write_shard(draft, KNOWN, batches_of(rows, KNOWN))
    draft.replace(home)


def choose_part(part: Part, settings: CurateSettings) -> None:
    """Write the pairs and rejections of a part whose shard was read."""
    aside = Aside()
    write_pairs(part, CHOSEN, _chosen(part, settings, aside), aside)


def prune(folder: Path, parts: Sequence[Part]) -> None:
    """Delete all files of the folder that are not of these parts."""
    current = {part.pictures for part in parts}
    for path in folder.iterdir():
        if path not in current:
            path.unlink()


def _chosen(part: Part, settings: CurateSettings, aside: Aside) -> Iterator[dict[str, Any]]:
    """Rows of CHOSEN; a batch of them is in memory, and no picture."""
    batches = read_shard(part.pictures).drop_columns("image").to_batches()
    for number, row in enumerate(tallied(chain.from_iterable(batch.to_pylist() for batch in batches))):
        found = chosen(row, settings)
        if isinstance(found, Rejected | Excluded):
            aside.put(found)
        elif found is not None:
            yield found | {"row": number}
