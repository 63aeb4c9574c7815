import hashlib
import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from corpus_samples import encoded, noise, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from scipy.fft import dct

from mmkd.images.decode import decode
from mmkd.images.store import StoredImage, stored_image
from mmkd.images.thumbnails import perceptual_hash
from mmkd.reasons import BadRecordError, Reason


def stored(data: bytes, min_side: int = 16, max_side: int = 64, max_pixels: int = 10**6) -> StoredImage:
    return stored_image(data, min_side, max_side, max_pixels)


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def rejection(data: bytes, **limits: int) -> Reason:
    with pytest.raises(BadRecordError) as caught:
        stored(data, **limits)
    return caught.value.reason


@pytest.mark.parametrize(
    "data",
    [png(), encoded(noise(channels=1)[..., 0]), encoded(noise(), "JPEG"), encoded(noise(), "WEBP", lossless=True)],
    ids=["png", "grey png", "jpeg", "webp"],
)
def test_plain_images_are_kept_byte_for_byte(data: bytes) -> None:
    image = stored(data)
    assert image.data == data
    assert (image.width, image.height) == (32, 32)
    assert image.sha256 == hashlib.sha256(data).hexdigest()


def test_larger_images_are_resized_once_and_keep_format_and_proportion() -> None:
    image = stored(encoded(noise(1, 100, 200), "JPEG"))
    assert (image.width, image.height) == (64, 32)
    assert Image.open(io.BytesIO(image.data)).format == "JPEG"
    assert stored(image.data).data == image.data
    assert Image.open(io.BytesIO(stored(png(1, 100, 200)).data)).format == "PNG"


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image = stored(encoded(noise(2, 32, 48), "JPEG", exif=exif, quality=95, subsampling=0))
    assert (image.width, image.height) == (32, 48)
    difference = pixels(image.data).astype(int) - np.rot90(noise(2, 32, 48), -1)
    assert np.abs(difference).mean() < 4
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(image.data))).size == (32, 48)


def test_sixteen_bits_are_scaled_by_their_own_range() -> None:
    ramp = np.linspace(1000, 1255, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    np.testing.assert_array_equal(pixels(stored(encoded(ramp)).data), ramp - 1000)
    assert not pixels(stored(encoded(np.full((32, 32), 7, np.uint16))).data).any()


def test_float_pixels_that_are_not_finite_become_black() -> None:
    values = np.full((32, 32), 2.0, np.float32)
    values[0, :3] = 1.0, np.nan, np.inf
    np.testing.assert_array_equal(pixels(stored(encoded(values, "TIFF")).data)[0, :4], [0, 0, 0, 255])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_picture_without_any_number_is_refused(value: float) -> None:
    with pytest.raises(BadRecordError, match="none of its values is a finite number"):
        decode(encoded(np.full((32, 32), value, np.float32), "TIFF"))


def test_alpha_is_flattened_on_black() -> None:
    rgba = np.dstack([noise(3), np.full((32, 32), 255, np.uint8)])
    rgba[:16, :, 3] = 0
    flat = pixels(stored(encoded(rgba)).data)
    assert not flat[:16].any()
    np.testing.assert_array_equal(flat[16:], noise(3)[16:])
    assert pixels(stored(encoded(Image.fromarray(rgba).convert("LA"))).data).ndim == 2


def test_palettes_bilevel_and_cmyk_become_plain() -> None:
    picture = Image.fromarray(noise(4))
    assert pixels(stored(encoded(picture.quantize(16))).data).shape == (32, 32, 3)
    assert pixels(stored(encoded(picture.convert("1"))).data).shape == (32, 32)
    assert pixels(stored(encoded(picture.convert("CMYK"), "JPEG")).data).shape == (32, 32, 3)


def test_only_the_first_frame_of_an_animation_is_kept() -> None:
    frames = [Image.fromarray(noise(seed)) for seed in (5, 6)]
    image = stored(encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True))
    np.testing.assert_array_equal(pixels(image.data), noise(5))


def test_an_original_that_carries_much_else_is_encoded_anew() -> None:
    image = stored(png(7) + bytes(200_000))
    assert len(image.data) < 10_000
    np.testing.assert_array_equal(pixels(image.data), noise(7))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_an_image_cut_in_half_is_rejected(kind: str) -> None:
    data = encoded(noise(8, 60, 60), kind)
    assert rejection(data[: len(data) // 2]) in (Reason.TRUNCATED_IMAGE, Reason.UNREADABLE_IMAGE)


def test_truncation_has_its_own_reason() -> None:
    data = encoded(noise(8, 60, 60), "JPEG")
    assert rejection(data[:-20]) == Reason.TRUNCATED_IMAGE


@pytest.mark.parametrize("data", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n", png()[:20]])
def test_what_is_no_image_is_rejected(data: bytes) -> None:
    assert rejection(data) == Reason.UNREADABLE_IMAGE


def test_a_decompression_bomb_is_refused_without_decoding() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = png()[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png()[33:]
    assert rejection(bomb) == Reason.DECOMPRESSION_BOMB
    assert rejection(png(0, 100, 101), max_pixels=10_099) == Reason.DECOMPRESSION_BOMB
    assert stored(png(0, 100, 101), max_pixels=10_100).height == 63


def test_pillows_own_limit_is_put_back() -> None:
    before = Image.MAX_IMAGE_PIXELS
    stored(png())
    rejection(b"")
    assert before == Image.MAX_IMAGE_PIXELS


def test_tiny_counts_as_stored() -> None:
    assert rejection(png(0, 15, 40)) == Reason.TINY_IMAGE
    assert stored(png(0, 16, 40)).height == 16
    assert rejection(png(0, 20, 200)) == Reason.TINY_IMAGE  # 64 x 6 after resizing


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]), st.data())
def test_damage_anywhere_gives_an_image_or_a_reason(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(noise(9), kind))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=8)):
        raw[place] = data.draw(st.integers(0, 255))
    with suppress(BadRecordError):
        stored(bytes(raw))


def bits_apart(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def test_the_hash_is_the_one_described() -> None:
    image = Image.fromarray(noise(10, 32, 32, 1)[..., 0])
    cosines = dct(dct(np.asarray(image, float), axis=0, norm="ortho"), axis=1, norm="ortho")[1:9, 1:9].ravel()
    expected = "".join("1" if value > np.median(cosines) else "0" for value in cosines)
    assert perceptual_hash(image) == int(expected, 2)


def test_the_first_bit_is_the_lowest_frequency() -> None:
    x = (np.arange(32) + 0.5) * np.pi / 32
    wave = 128 + 100 * np.outer(np.cos(x), np.cos(x))
    assert perceptual_hash(Image.fromarray(wave.round().astype(np.uint8))) >> 63 == 1
    assert perceptual_hash(Image.fromarray((255 - wave).round().astype(np.uint8))) >> 63 == 0


def test_a_flat_picture_has_hash_zero() -> None:
    assert {perceptual_hash(Image.new("RGB", (40, 50), (level,) * 3)) for level in (0, 77, 255)} == {0}


def test_the_hash_survives_resizing_and_compression_but_not_another_picture() -> None:
    picture = Image.fromarray(noise(11, 256, 256))
    reference = perceptual_hash(picture)
    assert bits_apart(reference, perceptual_hash(picture.resize((100, 100)))) <= 6
    recoded = Image.open(io.BytesIO(encoded(picture, "JPEG", quality=50)))
    assert bits_apart(reference, perceptual_hash(recoded)) <= 6
    assert bits_apart(reference, perceptual_hash(Image.fromarray(noise(12, 256, 256)))) > 16
