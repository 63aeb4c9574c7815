"""Pictures that are stored byte for byte lose their metadata and no pixel."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from corpus_samples import encoded, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from mmkd.images.metadata import without_metadata
from mmkd.images.store import stored_image

NAME = b"Doe^Jane"
PICTURE = noise(4, 40, 48)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def exif() -> bytes:
    told = Image.Exif()
    told[0x010E] = told[0x013B] = NAME.decode()  # description, artist
    return told.tobytes()


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", 2 + len(payload)) + payload


def told_jpeg(**options: object) -> bytes:
    data = encoded(PICTURE, "JPEG", exif=exif(), comment=NAME, icc_profile=NAME * 20, xmp=NAME, **options)
    return data[:2] + segment(0xED, b"Photoshop 3.0\0" + NAME) + segment(0xE0, b"JFXX\0" + NAME) + data[2:] + NAME


def told_png() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", NAME.decode())
    info.add_itxt("Comment", NAME.decode(), zip=False)
    info.add(b"prVt", NAME)
    return encoded(PICTURE, "PNG", pnginfo=info, exif=exif(), icc_profile=zlib.compress(NAME)) + NAME


def told_webp(**options: object) -> bytes:
    return encoded(PICTURE, "WEBP", exif=exif(), xmp=NAME, icc_profile=NAME, **options) + NAME


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (told_jpeg(), "JPEG"),
        (told_jpeg(progressive=True), "JPEG"),
        (told_jpeg(optimize=True, restart_marker_blocks=2), "JPEG"),
        (told_png(), "PNG"),
        (told_webp(), "WEBP"),
        (told_webp(lossless=True), "WEBP"),
    ],
    ids=["jpeg", "progressive", "restarts", "png", "webp", "lossless webp"],
)
def test_no_name_is_left_and_no_pixel_changes(data: bytes, kind: str) -> None:
    assert NAME in data
    stored = stored_image(data, 16, 64, 10**6)
    assert NAME not in stored.data
    assert stored.data == without_metadata(data, kind)
    np.testing.assert_array_equal(pixels(stored.data), pixels(data))
    left = Image.open(io.BytesIO(stored.data))
    assert (left.format, dict(left.getexif()), left.info.get("icc_profile")) == (kind, {}, None)
    assert without_metadata(stored.data, kind) == stored.data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_without_metadata_keeps_its_bytes(kind: str) -> None:
    data = encoded(PICTURE, kind)
    assert without_metadata(data, kind) is data


def test_the_colour_space_that_adobe_names_is_kept() -> None:
    cmyk = Image.fromarray(PICTURE).convert("CMYK")
    data = encoded(cmyk, "JPEG", exif=exif())
    kept = without_metadata(data, "JPEG")
    assert kept is not None
    np.testing.assert_array_equal(pixels(kept), pixels(data))
    rgb = encoded(PICTURE, "JPEG", keep_rgb=True, exif=exif())
    np.testing.assert_array_equal(pixels(without_metadata(rgb, "JPEG") or b""), pixels(rgb))


def test_the_thumbnail_of_a_jfif_header_is_taken_out() -> None:
    data = encoded(PICTURE, "JPEG")
    assert data[2:4] == b"\xff\xe0"
    header = data[6:18] + bytes([2, 1]) + NAME[:6]
    told = data[:2] + segment(0xE0, header) + data[20:]
    np.testing.assert_array_equal(pixels(told), pixels(data))
    assert without_metadata(told, "JPEG") == data


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.data())
def test_damage_anywhere_gives_bytes_or_none(kind: str, data: st.DataObject) -> None:
    whole = {"JPEG": told_jpeg, "PNG": told_png, "WEBP": told_webp}[kind]()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    if damaged:
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    found = without_metadata(bytes(damaged), kind)
    assert found is None or len(found) <= len(damaged) + 2


def test_long_runs_of_fill_bytes_are_read_once() -> None:
    picture = encoded(PICTURE, "JPEG")
    filled = picture[:-2] + b"\xff" * 200_000 + b"\0" + picture[-2:]  # to every decoder, one byte 255 and the end
    start = time.process_time()
    assert without_metadata(filled, "JPEG") == filled
    assert time.process_time() - start < 2
