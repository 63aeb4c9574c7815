"""Encoded pictures without what is not their pixels: text, EXIF, thumbnails and whatever lies behind their end.

Such fields name patients, devices and places. Segments and chunks are taken out of the bytes; nothing is decoded, so
the pixels stay as they are.
"""

import re
import struct
from collections.abc import Callable, Iterator

JPEG_START, JPEG_END = b"\xff\xd8", 0xD9
SCAN, JFIF, ADOBE, COMMENT = 0xDA, 0xE0, 0xEE, 0xFE
APPLICATION = range(0xE0, 0xF0)
PARAMETERLESS = {0x01, *range(0xD0, 0xD8)}
JFIF_BYTES = 14  # of the fields before its thumbnail
# inside a scan, zeros and restarts are data; a run of fill bytes is looked at once, or long ones would take hours
NEXT_MARKER = re.compile(rb"(?<!\xff)\xff++[^\x00\xff\xd0-\xd7]")
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"cICP")
WEBP_KEPT = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH")
WEBP_FLAGS = ~(0x20 | 0x08 | 0x04)  # there is an ICC profile, EXIF, XMP


def without_metadata(data: bytes, kind: str) -> bytes | None:
    """The same picture without them, the same bytes where it has none; None where its structure is not understood.

    kind: JPEG, PNG or WEBP. Colour profiles are taken out too, for no reader of mmkd applies them.
    """
    try:
        kept = KINDS[kind](data)
    except (struct.error, IndexError, ValueError):
        return None
    return data if kept == data else kept


def _jpeg(data: bytes) -> bytes:
    return JPEG_START + b"".join(_jpeg_segments(data))


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    if not data.startswith(JPEG_START):
        raise ValueError("no JPEG")
    place = len(JPEG_START)
    while place < len(data):
        begin, place, marker = _marker(data, place)
        if marker == JPEG_END:
            yield bytes([0xFF, JPEG_END])
            return
        if marker in PARAMETERLESS:
            yield data[begin:place]
            continue
        (length,) = struct.unpack_from(">H", data, place)
        end = place + length
        if length < 2 or end > len(data):
            raise ValueError("a segment ends behind the file")
        if marker == SCAN:
            found = NEXT_MARKER.search(data, end)
            end = found.start() if found else len(data)
        yield _kept_segment(marker, data[place - 2 : end])
        place = end


def _marker(data: bytes, place: int) -> tuple[int, int, int]:
    """Where a marker begins, where what it marks begins, and which it is; fill bytes may stand before it."""
    if data[place] != 0xFF:
        raise ValueError("no marker where one must be")
    begin = place
    while data[place] == 0xFF:
        place += 1
    return begin, place + 1, data[place]


def _kept_segment(marker: int, segment: bytes) -> bytes:
    """marker and length are its first four bytes."""
    if marker == JFIF and segment[4:9] == b"JFIF\0":
        bare = segment[4 : 4 + JFIF_BYTES - 2] + b"\0\0"
        return segment if len(segment) == 4 + JFIF_BYTES else segment[:2] + struct.pack(">H", 2 + JFIF_BYTES) + bare
    if marker == ADOBE and segment[4:9] == b"Adobe":  # says in which colour space the pixels are
        return segment[:2] + struct.pack(">H", 14) + segment[4:16] if len(segment) > 16 else segment
    return b"" if marker in APPLICATION or marker == COMMENT else segment


def _png(data: bytes) -> bytes:
    if not data.startswith(PNG_START):
        raise ValueError("no PNG")
    place, kept = len(PNG_START), [PNG_START]
    while True:
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise ValueError("a chunk ends behind the file")
        if name in PNG_KEPT:
            kept.append(data[place:end])
        if name == b"IEND":
            return b"".join(kept)
        place = end


def _webp(data: bytes) -> bytes:
    (riff, length, webp), place, kept = struct.unpack_from("<4sI4s", data), 12, list[bytes]()
    stop = min(len(data), 8 + length)
    if (riff, webp) != (b"RIFF", b"WEBP"):
        raise ValueError("no WebP")
    while place < stop:
        name, size = struct.unpack_from("<4sI", data, place)
        end = place + 8 + size + size % 2
        if place + 8 + size > len(data):
            raise ValueError("a chunk ends behind the file")
        chunk = data[place:end]
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & WEBP_FLAGS]) + chunk[9:]
        if name in WEBP_KEPT:
            kept.append(chunk)
        place = end
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body


KINDS: dict[str, Callable[[bytes], bytes]] = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp}
