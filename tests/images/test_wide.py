"""16 bits in several channels keep their contrast as 16-bit greys do. Files are written by hand, field by field."""

import io
import struct
import zlib

import numpy as np
import pytest
from corpus_samples import encoded
from PIL import Image

from mmkd.images.decode import decode
from mmkd.images.store import stored_image
from mmkd.reasons import BadRecordError, Reason

RAMP = (np.arange(32 * 32).reshape(32, 32) * 3720 // 1023).astype(np.uint16)  # 12 bits in 16
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP // 2], axis=-1)
PNG_KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type


def by_range(value: np.ndarray) -> np.ndarray:
    low, high = float(value.min()), float(value.max())
    return np.rint((value - low) * (255 / (high - low))).astype(np.uint8)


def png16(value_HWC: np.ndarray, more: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel, rows unfiltered and filtered by the row above in turn."""
    value_HWC = value_HWC.reshape(*value_HWC.shape[:2], -1)
    rows = value_HWC.astype(">u2").view(np.uint8).reshape(len(value_HWC), -1)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    lines = b"".join(
        b"\0" + row.tobytes() if place % 2 else b"\2" + (row - upper).tobytes()
        for place, (row, upper) in enumerate(zip(rows, above, strict=True))
    )
    size = struct.pack(">II", value_HWC.shape[1], value_HWC.shape[0])
    header = size + bytes([16, PNG_KINDS[value_HWC.shape[2]], 0, 0, 0])
    chunks = chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff16(
    value_HWC: np.ndarray,
    order: str = "<",
    planar: int = 1,
    orientation: int = 1,
    deflated: bool = False,
    photometric: int = 2,
) -> bytes:
    """A TIFF of 16 bits a channel, one strip (planar: one a channel)."""
    kind = f"{order}u2"
    height, width, channels = value_HWC.shape
    planes = [value_HWC] if planar == 1 else [value_HWC[..., c] for c in range(channels)]
    strips = [np.ascontiguousarray(plane, kind).tobytes() for plane in planes]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    tags = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [16] * channels), (259, 3, [8 if deflated else 1]),
        (262, 3, [photometric]), (273, 4, [0] * len(strips)), (274, 3, [orientation]), (277, 3, [channels]),
        (278, 4, [height]), (279, 4, [len(strip) for strip in strips]), (284, 3, [planar]),
    ] + ([(338, 3, [2])] if channels == 4 and photometric == 2 else [])  # fmt: skip
    end = 8 + 2 + 12 * len(tags) + 4
    body, entries = b"", b""
    for tag, form, values in tags:
        if tag == 273:
            first = end + sum(
                max(4, len(v) * (2 if f == 3 else 4)) for _, f, v in tags if len(v) * (2 if f == 3 else 4) > 4
            )
            values = [first + sum(map(len, strips[:place])) for place in range(len(strips))]
        packed = struct.pack(f"{order}{len(values)}{'H' if form == 3 else 'I'}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", end + len(body))
            body += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, form, len(values)) + place
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    return head + body + b"".join(strips)


def test_the_hand_written_grey_is_read_as_ever() -> None:
    np.testing.assert_array_equal(np.asarray(decode(png16(RAMP)))[..., 0], by_range(RAMP))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png16(RAMP)))), RAMP)


def test_grey_with_alpha_looks_as_the_grey() -> None:
    opaque = np.stack([RAMP, np.full_like(RAMP, 65535)], axis=-1)
    np.testing.assert_array_equal(np.asarray(decode(png16(opaque))), np.asarray(decode(png16(RAMP))))


@pytest.mark.parametrize(
    "data",
    [
        png16(COLOURS),
        tiff16(COLOURS),
        tiff16(COLOURS, ">"),
        tiff16(COLOURS, planar=2),
        tiff16(COLOURS, ">", planar=2),
        tiff16(COLOURS, deflated=True),
        tiff16(COLOURS, ">", deflated=True),
    ],
    ids=["png", "tiff", "big-endian", "planar", "planar big-endian", "deflated", "deflated big-endian"],
)
def test_colours_are_scaled_by_one_range(data: bytes) -> None:
    np.testing.assert_array_equal(np.asarray(decode(data)), by_range(COLOURS))
    stored = stored_image(data, 16, 64, 10**6)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(stored.data))), by_range(COLOURS))


@pytest.mark.parametrize("write", [png16, tiff16])
def test_what_is_transparent_is_black_and_has_no_part_in_the_range(write) -> None:  # type: ignore[no-untyped-def]
    alpha = np.full_like(RAMP, 65535)
    alpha[:8] = 0
    value = np.dstack([COLOURS, alpha])
    value[:8, :, :3] = 65535
    expected = np.zeros((32, 32, 3), np.uint8)
    expected[8:] = by_range(COLOURS[8:])
    np.testing.assert_array_equal(np.asarray(decode(write(value))), expected)


def test_the_one_transparent_colour_of_a_png_is_black() -> None:
    value = COLOURS.copy()
    value[:4] = (60000, 1, 2)
    data = png16(value, chunk(b"tRNS", struct.pack(">3H", 60000, 1, 2)))
    found = np.asarray(decode(data))
    assert not found[:4].any()
    np.testing.assert_array_equal(found[4:], by_range(COLOURS[4:]))


def test_ink_of_sixteen_bits_is_dark_where_there_is_much_of_it() -> None:
    ink = np.dstack([COLOURS, np.zeros_like(RAMP)])
    np.testing.assert_array_equal(np.asarray(decode(tiff16(ink, photometric=5))), by_range(65535 - COLOURS))


def test_orientation_of_wide_pictures() -> None:
    oblong = COLOURS[:16]
    for turn, expected in ((1, oblong), (3, np.rot90(oblong, 2)), (6, np.rot90(oblong, -1)), (8, np.rot90(oblong))):
        np.testing.assert_array_equal(np.asarray(decode(tiff16(oblong, orientation=turn))), by_range(expected))
        exif = Image.Exif()
        exif[0x0112] = turn
        data = png16(oblong, chunk(b"eXIf", exif.tobytes()[6:]))
        np.testing.assert_array_equal(np.asarray(decode(data)), by_range(expected))


def test_planar_colours_that_are_compressed_are_refused_with_a_cure() -> None:
    with pytest.raises(BadRecordError, match="save it with interleaved colours") as caught:
        decode(tiff16(COLOURS, planar=2, deflated=True))
    assert caught.value.reason == Reason.UNREADABLE_IMAGE


def test_a_tiff_of_another_kind_is_called_a_tiff() -> None:
    data = encoded(np.ones((16, 16), np.float32), "TIFF")
    tags = Image.open(io.BytesIO(data)).tag_v2  # type: ignore[attr-defined]
    assert tags[258] == (32,)
    place = data.index(struct.pack("<HHI", 258, 3, 1)) + 8
    wide = data[:place] + struct.pack("<H", 64) + data[place + 2 :]
    with pytest.raises(BadRecordError, match=r"a TIFF with 64 bits a sample.*; save it with 8, 16 or 32 bits"):
        decode(wide)
    with pytest.raises(BadRecordError, match="are none of JPEG, PNG"):
        decode(b"P5 1 1 255\n\0")
