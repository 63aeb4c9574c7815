"""One encoded image, checked by decoding it, and in the form the corpus stores."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from mmkd.images.box import Box
from mmkd.images.thumbnails import look_of
from mmkd.reasons import BadRecordError, Reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # others are refused: some of Pillow's readers start programs
KEPT_FORMATS = ("JPEG", "PNG", "WEBP")
JPEG_QUALITY = 95
SLACK_BYTES = 65_536  # of headers; an original larger than its pixels and this carries something else
PNG_BIT_DEPTH = 24  # offset in the file
HASH_SIDE = 32
HASH_FREQUENCIES = slice(1, 9)  # eight each way, without the constant ones
FLAT = 1e-6  # grey levels; differences below are rounding


@dataclass(frozen=True)
class StoredImage:
    """An image as the corpus keeps it. sha256: hex, of `data`. phash: see `perceptual_hash`.
    look: see `likeness`."""

    data: bytes
    width: int
    height: int
    sha256: str
    phash: int
    look: bytes


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, in 8-bit grey or RGB. data: its bytes where they can be kept as they are, else None.
    claimed: width and height by its header, before it was turned."""

    image: Image.Image
    source_format: str | None
    data: bytes | None
    claimed: tuple[int, int]

    def part(self, box: Box) -> "Picture":
        """A rectangle of it."""
        return Picture(
            self.image.crop((box.left, box.top, box.right, box.bottom)), self.source_format, None, self.claimed
        )


def stored_image(data: bytes, min_side: int, max_side: int, max_pixels: int) -> StoredImage:
    """Decode and check an image; keep its bytes where every reader will see the same picture, else encode it anew.

    Kept byte for byte: upright 8-bit JPEG, PNG and WebP in grey or RGB, of one frame, up to `max_side` pixels on the
    long side. Others are turned upright, brought to 8-bit grey or RGB (see `plain`), resized with Lanczos where larger
    and stored as JPEG where they came as JPEG, else as PNG. Raises BadRecordError with the reason.
    """
    return store(open_picture(data, min_side, max_side, max_pixels), max_side)


def open_picture(data: bytes, min_side: int, max_side: int, max_pixels: int) -> Picture:
    """First half of `stored_image`: decoded and checked, in its own size."""
    with _opened(data, max_pixels) as image:
        claimed = image.size
        check_size(claimed, min_side, max_side)
        upright = _decoded(image)
        if upright is image and max(image.size) <= max_side and _keepable(image, data):
            return Picture(image, image.format, data, claimed)
        return Picture(plain(upright), image.format, None, claimed)


def claimed_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded. Raises BadRecordError where that says why already."""
    with _opened(data, max_pixels) as image:
        return image.size


def check_size(claimed: tuple[int, int], min_side: int, max_side: int) -> None:
    """Raises BadRecordError for what would be too small once it is stored."""
    size = _fitted(claimed, max_side)
    if min(size) < min_side:
        raise BadRecordError(
            Reason.TINY_IMAGE, f"{_x(claimed)} pixels, stored {_x(size)}; the shorter side needs {min_side}"
        )


def store(picture: Picture, max_side: int) -> StoredImage:
    """Second half of `stored_image`: fitted and encoded where its bytes are not kept."""
    if picture.data is not None:
        return _described(picture.data, picture.image)
    image = picture.image
    if (size := _fitted(image.size, max_side)) != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return _described(_encoded(image, picture.source_format), image)


def plain(image: Image.Image) -> Image.Image:
    """8-bit grey ("L") or RGB. Wider greys are scaled by their own range to 0..255, alpha is flattened on black."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _grey_by_range(np.asarray(image, np.float64))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGB", image.size)
        black.paste(coloured, mask=coloured.getchannel("A"))
        return black.convert("L") if image.mode in ("L", "LA", "La") else black
    return image.convert("L" if image.mode == "1" else "RGB")


def small_grey(image: Image.Image) -> Image.Image:
    """The picture in grey, HASH_SIDE x HASH_SIDE pixels (Lanczos): what hash and look are made of.

    That of a picture of this kind is the same picture.
    """
    return image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.LANCZOS)


def perceptual_hash(image: Image.Image) -> int:
    """64-bit DCT hash: similar pictures differ in few bits.

    The picture in grey, 32 x 32 pixels (`small_grey`), is transformed by the orthonormal DCT-II; the 8 x 8 lowest
    frequencies without the constant row and column (as pHash of Zauner, 2010, does) are compared with their median.
    The most significant bit is frequency (1, 1), then row by row, vertical frequency first: (1, 2), ... A flat picture
    has hash 0.
    """
    from scipy.fft import dctn  # takes 0.3 s to import, which recipes are read without

    low_88 = dctn(np.asarray(small_grey(image), np.float64), norm="ortho")[HASH_FREQUENCIES, HASH_FREQUENCIES]
    bits = low_88 - np.median(low_88) > FLAT
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The image with only its header read, once its claim to at most `max_pixels` is checked."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata: what counts is whether there are pixels
        image = _header(data)
        if image.width * image.height > max_pixels:
            raise BadRecordError(
                Reason.DECOMPRESSION_BOMB,
                f"{_x(image.size)} pixels claimed, at most {max_pixels:,} in all (max_pixels)",
            )
        with image:
            yield image


def _header(data: bytes) -> Image.Image:
    own_limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # the caller's is checked instead, before anything is decoded
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        detail = f"{len(data):,} bytes beginning {data[:8]!r} are none of {', '.join(FORMATS)}"
        raise BadRecordError(Reason.UNREADABLE_IMAGE, detail) from None
    except Exception as error:  # readers raise whatever a damaged header makes them stumble on
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"{type(error).__name__}: {error}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = own_limit


def _decoded(image: Image.Image) -> Image.Image:
    """The picture upright; the same object where it was so already."""
    try:
        image.load()
        return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    except Exception as error:  # as in _header
        reason = Reason.TRUNCATED_IMAGE if "truncated" in str(error) else Reason.UNREADABLE_IMAGE
        raise BadRecordError(reason, f"{type(error).__name__}: {error}") from None


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as in _header; a picture is usable without its metadata
        return 1


def _keepable(image: Image.Image, data: bytes) -> bool:
    return (
        image.format in KEPT_FORMATS
        and image.mode in ("L", "RGB")
        and "transparency" not in image.info
        and getattr(image, "n_frames", 1) == 1
        and (image.format != "PNG" or data[PNG_BIT_DEPTH] == 8)
        and len(data) <= len(image.getbands()) * image.width * image.height + SLACK_BYTES
    )


def _fitted(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Width and height with the long side at most `max_side`, in the same proportion."""
    longest = max(size)
    if longest <= max_side:
        return size
    return max(1, round(size[0] * max_side / longest)), max(1, round(size[1] * max_side / longest))


def _grey_by_range(values_HW: np.ndarray) -> Image.Image:
    known = np.isfinite(values_HW)
    low, high = (values_HW[known].min(), values_HW[known].max()) if known.any() else (0.0, 0.0)
    scaled = (np.where(known, values_HW, low) - low) * (255.0 / (high - low) if high > low else 0.0)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _encoded(picture: Image.Image, source_format: str | None) -> bytes:
    buffer = io.BytesIO()
    if source_format in ("JPEG", "MPO"):  # MPO: JPEGs in one file, as some cameras write
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    else:
        picture.save(buffer, "PNG", icc_profile=None)
    return buffer.getvalue()


def _described(data: bytes, picture: Image.Image) -> StoredImage:
    digest = hashlib.sha256(data).hexdigest()
    small = small_grey(picture)
    return StoredImage(data, picture.width, picture.height, digest, perceptual_hash(small), look_of(small))


def _x(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def decode(data: bytes) -> Image.Image | None:
    """An encoded image as 8-bit RGB, or None when it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            return plain(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
