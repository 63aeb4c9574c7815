"""The decoder of every stage: upright RGB or a reason, whatever the bytes are; and there is one only."""

import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from corpus_samples import encoded, noise, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import mmkd
from mmkd.errors import DataError
from mmkd.images.decode import FORMATS, decode
from mmkd.reasons import BadRecordError, Reason

PICTURE = noise(3, 24, 40)


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PICTURE, "PNG", exif=exif)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_the_list_becomes_rgb(kind: str) -> None:
    image = decode(encoded(noise(1), kind))
    assert (image.mode, image.size) == ("RGB", (32, 32))


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(BadRecordError, match="are none of JPEG") as caught:
        decode(encoded(noise(1), kind))
    assert caught.value.reason == Reason.UNREADABLE_IMAGE


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, PICTURE), (3, np.rot90(PICTURE, 2)), (6, np.rot90(PICTURE, -1)), (8, np.rot90(PICTURE))],
)
def test_pictures_are_turned_by_their_exif_orientation(orientation: int, upright: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(decode(turned(orientation))), upright)


def test_more_pixels_than_the_limit_are_not_decoded() -> None:
    with pytest.raises(BadRecordError, match=r"32 x 32 pixels claimed, at most 1,023") as caught:
        decode(png(), max_pixels=1023)
    assert caught.value.reason == Reason.DECOMPRESSION_BOMB
    assert decode(png(), max_pixels=1024).size == (32, 32)


def test_the_limit_that_no_setting_changes_names_no_setting() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    claim = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + png()[33:]
    with pytest.raises(BadRecordError) as caught:
        decode(claim)
    assert caught.value.detail == "20000 x 20000 pixels claimed, at most 178,956,970 in all"


def test_what_is_transparent_is_black() -> None:
    rgba = np.dstack([noise(3), np.zeros((32, 32), np.uint8)])
    assert not np.asarray(decode(encoded(rgba))).any()


@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda end: png()[:60] + end))
def test_any_bytes_are_a_picture_or_a_reason(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert decode(data).mode == "RGB"
        except (BadRecordError, DataError):  # DataError: DICOM without pydicom
            return


def test_no_other_code_of_mmkd_decodes_images() -> None:
    root = Path(mmkd.__file__).parent
    calls = {p.relative_to(root).as_posix() for p in root.rglob("*.py") if re.search(r"Image\.open\(", p.read_text())}
    assert calls == {"images/decode.py"}
