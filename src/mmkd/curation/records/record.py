"""What sources yield: records as they were found, rejections and their reasons, and groups out of names.

Where a source tells of no article or patient, its paths and ids often do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, runtime_checkable

from mmkd.curation.settings.sources import Source
from mmkd.errors import ConfigError
from mmkd.reasons import Reason

MAX_DETAIL = 300  # characters
LOOKED_AT = 1024  # names among which the pattern must match one


@dataclass(frozen=True)
class Record:
    """A pair as its source spells it: the caption uncleaned (bytes where the source stores bytes), the image undecoded.

    where: the file and the place in it (`pairs.csv:12`; rows are counted from 0), for messages. modality: what the
    source says, "" where it does not; where `labels` alone say it, what they say. labels: the source's own, the most
    specific first. mention: what the article's text says of the figure. captionless: without a caption it is kept as a
    picture without one. grouped: whether the source tells the group; otherwise it is made from the record's own id.
    """

    id: str
    image: bytes
    caption: str | bytes
    modality: str
    group: str
    licence: str
    source: str
    where: str
    labels: tuple[str, ...] = ()
    mention: str = ""
    captionless: bool = False
    grouped: bool = True


def each_caption(record: Record, captions: Sequence[str | bytes]) -> Iterator[Record]:
    """The record with each of its captions; of several captions the place is part of the id, and none of the group."""
    if len(captions) < 2:
        yield record
        return
    for place, caption in enumerate(captions):
        yield replace(record, id=f"{record.id}/{place}", caption=caption)


@dataclass(frozen=True)
class Rejected:
    """A record that is not in the corpus, and why. `id` is empty where it was not even known."""

    source: str
    where: str
    id: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Excluded:
    """Records that `include` or `part` of their source does not select: counted, neither kept nor rejected."""

    source: str
    records: int = 1


@dataclass(frozen=True)
class Noted:
    """What is counted of files and records besides that they are kept or rejected."""

    source: str
    what: str
    files: int = 1


Found = Record | Rejected | Excluded | Noted


class Shard(Protocol):
    """A part of a source that one process reads on its own. Picklable and small."""

    def records(self) -> Iterator[Found]:
        """All that the shard holds in the source's order, one at a time; the same every time."""
        ...


@runtime_checkable
class Stamped(Protocol):
    """A shard that knows its own content; of others the whole source's fingerprint is taken."""

    def fingerprint(self) -> str:
        """Changes when what the shard reads does."""
        ...


class Reader(Protocol):
    """An opened source."""

    def shards(self) -> "list[Shard]":
        """All parts of the source, always the same and in the same order.

        Raises ConfigError when the settings do not fit what is there, DataError when it is missing or unreadable.
        """
        ...

    def fingerprint(self) -> str:
        """Hex digest that changes when the source does."""
        ...


def group_in(source: Source, *names: str) -> str:
    """What the first group of the source's pattern `group` takes of the first name that matches; "" where none does."""
    return group_named(source.group, *names)


def group_named(pattern: str, *names: str) -> str:
    """As `group_in`, of a pattern."""
    if not pattern:
        return ""
    found = (match[1] for name in names if (match := re.search(pattern, name)) is not None)
    return next((group for group in found if group), "")


def check_group(source: Source, names: Iterable[str]) -> None:
    """Raise ConfigError when `group` finds nothing in any of the first names. They are drawn only where it is set."""
    if not source.group:
        return
    looked_at = []
    for name in islice(names, LOOKED_AT):
        if group_in(source, name):
            return
        looked_at.append(name)
    if looked_at:
        raise ConfigError(
            f"source {source.name!r}: group = {source.group!r} matches none of {len(looked_at)} names, the first of "
            f"them {looked_at[0]!r}; it is searched in paths as they stand below the source, and in ids"
        )


def printable(value: str) -> str:
    """With backslashes for what is not UTF-8, and not too long for a list."""
    return value.encode("utf-8", "backslashreplace").decode()[:MAX_DETAIL]
