"""Samples of a WebDataset tar, front to back: neighbours whose names are the same up to the first dot, as the library
webdataset splits them. What follows that dot is the extension, whose last part says what the member is."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from mmkd.folders.paths import IMAGE_SUFFIXES, MAX_FILE_BYTES
from mmkd.folders.regular import is_foreign, is_inside
from mmkd.reasons import BadRecordError, Reason

IMAGES = tuple(suffix[1:] for suffix in IMAGE_SUFFIXES)
CAPTIONS = ("txt", "caption")
METAS = ("json",)
WANTED = (*IMAGES, *CAPTIONS, *METAS)
NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)  # key: up to the first dot of the file name
MAX_TEXT_BYTES = 2**20  # of a caption; the longest that is kept has a hundredth of it
MAX_META_BYTES = 2**25  # of a JSON, which may hold a whole article
MAX_SAMPLE_BYTES = MAX_FILE_BYTES  # then what has another name up to the last dot is another sample
BLOCK = 512
MAX_EXTENSION_BYTES = 2**14  # of a header with a long name or other facts, which is parsed in memory, slowly
EXTENSIONS = b"LKxgX"  # types of such headers
DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError, OverflowError, RecursionError)

Content = bytes | BadRecordError
Files = dict[str, Content]
"""Extension -> content, or why there is none; of members that are not read, b""."""


class DamagedTarError(Exception):
    """The archive cannot be read any further."""


@dataclass(frozen=True)
class Pair:
    """Extensions of the members that are an image, its caption and its JSON, "" for what is not there. name: what they
    share behind the sample's key."""

    name: str
    image: str = ""
    caption: str = ""
    meta: str = ""


def samples(stream: BinaryIO) -> Iterator[tuple[str, Files | BadRecordError]]:
    """Key and files of each sample, in the tar's order; a member that can be of none, by its name, with the reason.

    Folders, and what systems leave in archives, are passed over. Raises DamagedTarError after the last whole sample.
    """
    key, files = "", Files()
    for name, content in _members(stream):
        match = NAME.fullmatch(name)
        if match is None or content is None:
            why = "its name has no extension" if content is not None else "a link or a device, which is not followed"
            yield name, BadRecordError(Reason.OTHER_FILE, why)
            continue
        found, extension = match[1], match[2].lower()
        # a repeated extension begins another sample of the same name
        if found != key or extension in files or _is_full(files, extension):
            if files:
                yield key, files
            key, files = found, Files()
        files[extension] = content
    if files:
        yield key, files


def pairs_of(extensions: Iterable[str]) -> list[Pair]:
    """What the members of a sample make: images and captions whose names differ in the last part of the extension only,
    and else the one image and the one caption that are left. A JSON is of the pair of its name, the only one of all.
    """
    extensions = list(extensions)
    images, captions, metas = (_by_name(extensions, keys) for keys in (IMAGES, CAPTIONS, METAS))
    alone = [name for name in images if name not in captions], [name for name in captions if name not in images]
    joined = len(alone[0]) == len(alone[1]) == 1
    if joined:
        captions[alone[0][0]] = captions.pop(alone[1][0])
    names = [name for name in dict.fromkeys(map(_name, extensions)) if name in images or name in captions]
    only = next(iter(metas.values())) if len(metas) == 1 else ""
    return [
        Pair(
            "" if joined and len(names) == 1 else name,
            images.get(name, ""),
            captions.get(name, ""),
            metas.get(name, only),
        )
        for name in names or metas
    ]


def _name(extension: str) -> str:
    return extension.rpartition(".")[0]


def _by_name(extensions: Iterable[str], keys: tuple[str, ...]) -> dict[str, str]:
    """Extension without its last part -> the extension that ends in the first possible of the keys."""
    found: dict[str, str] = {}
    for key in keys:
        for extension in extensions:
            if extension.rpartition(".")[2] == key:
                found.setdefault(_name(extension), extension)
    return found


def _is_full(files: Files, extension: str) -> bool:
    size = sum(len(content) for content in files.values() if isinstance(content, bytes))
    return size > MAX_SAMPLE_BYTES and _name(extension) not in map(_name, files)


class CheckedHeader(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> "CheckedHeader":
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in EXTENSIONS and found.size > MAX_EXTENSION_BYTES):
            raise tarfile.ReadError(f"a header that claims {found.size:,} bytes")
        return found


class CheckedTar(tarfile.TarFile):
    """Raises tarfile.ReadError for extended headers that are too large, and for members that lead back to earlier
    ones, which `tarfile` would read for ever."""

    tarinfo = CheckedHeader

    def next(self) -> tarfile.TarInfo | None:
        member = super().next()
        if member is not None and self.offset <= member.offset:
            raise tarfile.ReadError(f"a member that ends at byte {self.offset:,}, before it begins")
        return member


def _members(stream: BinaryIO) -> Iterator[tuple[str, Content | None]]:
    """Name and content; None of what is no regular file."""
    try:
        with CheckedTar.open(fileobj=stream, mode="r:*") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every header it has read
                if not member.isdir() and not _is_foreign(member.name):
                    yield member.name, _content(tar, member) if member.isreg() else None
            end = tar.offset
            # tarfile takes garbage for the end as well as the block of zeros that ends a tar
            whole = tar.fileobj is not stream or _block_at(stream, end) == bytes(BLOCK)
    except DAMAGE as error:
        raise DamagedTarError(f"cut off or damaged, what follows is lost: {error}") from None
    if not whole:
        raise DamagedTarError(f"no further member and no end mark at byte {end}; cut off or damaged there")


def _is_foreign(name: str) -> bool:
    return any(is_foreign(part) for part in name.split("/") if part not in (".", ".."))


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Content:
    """The bytes of a wanted member (of others none), or why they are refused."""
    kind = member.name.rpartition(".")[2].lower()
    if kind not in WANTED or NAME.fullmatch(member.name) is None:
        return b""
    if not is_inside(member.name):
        return BadRecordError(Reason.OUTSIDE_FOLDER, f"member {member.name!r} leads outside the archive")
    if member.size > MAX_FILE_BYTES or (kind in METAS and member.size > MAX_META_BYTES):
        return BadRecordError(Reason.OVERSIZED_FILE, f"member {member.name!r} has {member.size:,} bytes")
    if kind in CAPTIONS and member.size > MAX_TEXT_BYTES:
        return BadRecordError(Reason.LONG_CAPTION, f"member {member.name!r} has {member.size:,} bytes")
    content = b"" if (found := tar.extractfile(member)) is None else found.read()
    if len(content) < member.size:
        raise tarfile.ReadError(f"member {member.name!r} ends after {len(content)} of {member.size} bytes")
    return content


def _block_at(stream: BinaryIO, offset: int) -> bytes:
    stream.seek(offset)
    return stream.read(BLOCK)
