"""WebDataset tars: open_clip's layout (image, `txt`) and BIOMEDICA's (image, `txt`, `json`), read front to back."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmkd.curation.records.record import Excluded, Found, Record, Rejected, Shard, each_caption
from mmkd.curation.settings.curate import WebDatasetSource
from mmkd.curation.sources.biomedica import figure_facts, parse_meta
from mmkd.curation.sources.checked_tar import CheckedTar
from mmkd.curation.sources.groups import check_group, group_in
from mmkd.folders.paths import (
    IMAGE_SUFFIXES,
    MAX_FILE_BYTES,
    files_below,
    fingerprint_of_files,
    is_inside,
    stamp_of,
)
from mmkd.reasons import BadRecordError, Reason
from mmkd.tables.values import matches

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
IMAGE_KEYS = tuple(suffix[1:] for suffix in IMAGE_SUFFIXES)
CAPTION_KEYS = ("txt", "caption")
META_KEYS = ("json", "meta.json")
WANTED = frozenset((*IMAGE_KEYS, *CAPTION_KEYS, *META_KEYS))
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)  # key: up to the first dot of the file name
MAX_TEXT_BYTES = 2**20  # of a caption; the longest that is kept has a hundredth of it
MAX_META_BYTES = 2**25  # of a JSON, which may hold a whole article
BLOCK = 512
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)


class DamagedTarError(Exception):
    """The archive cannot be read any further."""


@dataclass(frozen=True)
class WebDatasetReader:
    """A tar or a folder of tars; every tar is a part."""

    source: WebDatasetSource

    def shards(self) -> list[Shard]:
        folder, names = self._tars()
        shards = [TarShard(self.source, folder / name, name) for name in names]
        check_group(self.source, (name for shard in shards[:1] for name in shard.names()))
        return list(shards)

    def fingerprint(self) -> str:
        return fingerprint_of_files(*self._tars())

    def _tars(self) -> tuple[Path, list[str]]:
        path = self.source.path
        return (path.parent, [path.name]) if path.is_file() else (path, files_below(path, TAR_SUFFIXES))


@dataclass(frozen=True)
class TarShard:
    """One tar; `name` is its path below the source, without which keys would repeat between tars."""

    source: WebDatasetSource
    path: Path
    name: str

    def fingerprint(self) -> str:
        return stamp_of(self.path)

    @property
    def stem(self) -> str:
        return self.name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")

    def names(self) -> Iterator[str]:
        """What `group` is searched in, up to where the tar is damaged."""
        try:
            for key, _ in samples(self.path):
                yield from (key, f"{self.stem}/{key}")
        except DamagedTarError:  # it is listed where the records are read
            return

    def records(self) -> Iterator[Found]:
        stem = self.stem
        try:
            for key, files in samples(self.path):
                identity, where = f"{self.source.name}/{stem}/{key}", f"{self.name}:{key}"
                try:
                    named = group_in(self.source, key, f"{stem}/{key}")
                    yield from _records(self.source, identity, where, files, named)
                except BadRecordError as bad:
                    yield Rejected(self.source.name, where, identity, bad.reason, bad.detail)
        except DamagedTarError as error:
            yield Rejected(self.source.name, self.name, "", Reason.DAMAGED_FILE, str(error))


Files = dict[str, bytes | BadRecordError]
"""Extension -> content, or why there is none."""


def samples(path: Path) -> Iterator[tuple[str, Files]]:
    """Key and wanted files of each sample, in the tar's order; neighbours that share a key are a sample.

    Directories, links and files of other kinds are passed over. Raises DamagedTarError after the last whole sample.
    """
    key, files = "", Files()
    for name, content in _members(path):
        if (match := NAME.fullmatch(name)) is None:
            continue
        found, extension = match[1], match[2].lower()
        if found != key or extension in files:  # a repeated extension begins another sample of the same name
            if files:
                yield key, files
            key, files = found, Files()
        if extension in WANTED:
            files[extension] = content
    if files:
        yield key, files


def _members(path: Path) -> Iterator[tuple[str, bytes | BadRecordError]]:
    try:
        with CheckedTar.open(path, "r:*") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
                if member.isreg():
                    yield member.name, _content(tar, member)
            end = tar.offset
        whole = not path.name.lower().endswith(".tar") or _ends_at(path, end)
    except DAMAGE as error:
        raise DamagedTarError(f"cut off or damaged, what follows is lost: {error}") from None
    if not whole:
        raise DamagedTarError(f"no further member and no end mark at byte {end}; cut off or damaged there")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | BadRecordError:
    """The bytes of a wanted member (of others none), or why they are refused."""
    extension = member.name.rpartition("/")[2].partition(".")[2].lower()
    if extension not in WANTED:
        return b""
    if not is_inside(member.name):
        return BadRecordError(Reason.OUTSIDE_FOLDER, f"member {member.name!r} leads outside the archive")
    if member.size > MAX_FILE_BYTES or (extension in META_KEYS and member.size > MAX_META_BYTES):
        return BadRecordError(Reason.OVERSIZED_FILE, f"member {member.name!r} has {member.size:,} bytes")
    if extension in CAPTION_KEYS and member.size > MAX_TEXT_BYTES:
        return BadRecordError(Reason.LONG_CAPTION, f"member {member.name!r} has {member.size:,} bytes")
    stream = tar.extractfile(member)
    content = b"" if stream is None else stream.read()
    if len(content) < member.size:
        raise tarfile.ReadError(f"member {member.name!r} ends after {len(content)} of {member.size} bytes")
    return content


def _ends_at(path: Path, offset: int) -> bool:
    """Whether the block of zeros that ends a tar stands there: tarfile takes garbage for the end as well."""
    with path.open("rb") as stream:
        stream.seek(offset)
        return stream.read(BLOCK) == bytes(BLOCK)


def _records(
    source: WebDatasetSource, identity: str, where: str, files: Files, named: str
) -> Iterator[Record | Excluded]:
    """One, or one of each caption. named: the group that the names tell of, for where the JSON tells of none."""
    meta = parse_meta(_first(files, META_KEYS))
    if not matches(meta, source.include):
        yield Excluded(source.name)
        return
    facts = figure_facts(meta, source.captions)
    caption = _first(files, CAPTION_KEYS)
    captions = [caption] if caption else facts.captions
    if not (image := _first(files, IMAGE_KEYS)) or not captions:
        lacking = "caption" if image else "image"
        raise BadRecordError(Reason.MISSING_FIELD, f"no {lacking} among {', '.join(sorted(files))}")
    record = Record(
        id=identity,
        image=image,
        caption=captions[0],
        modality=facts.modality or ("" if facts.labels else source.modality),
        group=facts.group or named or identity,
        licence=facts.licence or source.licence,
        source=source.name,
        where=where,
        labels=facts.labels,
        mention=facts.mention,
    )
    yield from each_caption(record, captions)


def _first(files: Files, keys: tuple[str, ...]) -> bytes:
    content = next((files[key] for key in keys if key in files), b"")
    if isinstance(content, BadRecordError):
        raise content
    return content
