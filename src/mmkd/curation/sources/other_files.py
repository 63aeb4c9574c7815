"""Files below the folder of a source that it does not read: each is rejected with its reason, none is passed over."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mmkd.curation.records.record import Rejected, Shard
from mmkd.folders.listing import Names, files_in_order
from mmkd.reasons import Reason

Part = TypeVar("Part", bound=Any)


def other_files(folder: Path, suffixes: tuple[str, ...], in_classes: bool = True) -> Iterator[str]:
    """Files with other suffixes, or beside the folders of the classes where there must be some; nothing hidden or
    foreign."""
    for name in files_in_order(folder, ("",)):
        if (in_classes and "/" not in name) or not name.lower().endswith(suffixes):
            yield name


def with_others(parts: Sequence[Part], others: Names) -> list[Shard]:
    """The parts, of which the last has the other files: a part of their own would be planned for as one of samples."""
    return [*parts[:-1], *(replace(part, others=others) for part in parts[-1:])]


def rejected_others(source: str, others: Names, suffixes: tuple[str, ...]) -> Iterator[Rejected]:
    """Each with what was found and what is read."""
    for name in others:
        why = f"its name ends in none of {', '.join(suffixes)}"
        if name.lower().endswith(suffixes):
            why = "it lies in no folder of a class; put it into one"
        yield Rejected(source, name, "", Reason.OTHER_FILE, why)
