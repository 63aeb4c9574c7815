"""Parts that outlive the run that made them, so that the next run reads only what is new.

A kept part is named by everything that decides its bytes: the version of mmkd, the settings that the check of a record
reads, and the content of its shard. Settings that only select among checked records are left out.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import mmkd
from mmkd.corpus.parts import PAIRS, Part
from mmkd.corpus.records import Reader, Shard, Stamped
from mmkd.corpus.settings import CurateSettings

SELECTING = {
    "sources",  # those of a shard are part of the shard
    "duplicates",
    "decontaminate",
    "decontaminate_radius",
    "val",
    "max_rejected",
    "shard_rows",
    "keep_parts",
}
"""Settings that leave a part as it is; a setting that is not named here makes all parts anew when it changes."""


def parts_folder(partial: Path) -> Path:
    """Where the parts of a corpus are kept: beside its folder, of which `partial` is the unfinished one."""
    return partial.with_name(f"{partial.name.removesuffix('.partial')}.parts")


def part_names(shards: Sequence[tuple[Reader, Shard]], settings: CurateSettings) -> list[str]:
    """A name for each shard that changes with its content and with what is done to it."""
    done = [mmkd.__version__, PAIRS.to_string(), settings.model_dump_json(exclude=SELECTING)]
    whole: dict[int, str] = {}  # the source's, where its shards have none of their own
    names = []
    for reader, shard in shards:
        if not isinstance(shard, Stamped) and id(reader) not in whole:
            whole[id(reader)] = reader.fingerprint()
        content = shard.fingerprint() if isinstance(shard, Stamped) else whole[id(reader)]
        told = json.dumps([*done, repr(shard), content])
        names.append(hashlib.sha256(told.encode()).hexdigest()[:32])
    return names


def prune(folder: Path, parts: Sequence[Part]) -> None:
    """Delete all files of the folder that are not of these parts."""
    current = {path for part in parts for path in (part.pairs, part.rejected)}
    for path in folder.iterdir():
        if path not in current:
            path.unlink()
