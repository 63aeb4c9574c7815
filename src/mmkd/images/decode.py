"""The decoder: encoded bytes to an upright picture of 8-bit grey or RGB, or the reason why there is none.

Every stage reads its pictures here. Pillow formats outside FORMATS are refused, since some of its readers start other
programs.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from mmkd.images.dicom import MAX_SAMPLES, dicom_picture, is_dicom
from mmkd.images.plain import plain
from mmkd.images.wide import is_wide, narrowed
from mmkd.reasons import BadRecordError, Reason

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PAGED = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"RIFF", b"\x89PNG"}  # first bytes of what may have several
SEVERAL = "several pages or frames, of which the first is read"  # what is noted of files
MAX_PIXELS = 2 * 89_478_485  # of a picture that no setting limits; Pillow refuses what is larger, too


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture upright, in RGB: what encoders see. DICOM files are recognised by their magic bytes.

    Raises BadRecordError with the reason, DataError where a library is missing that DICOM needs.
    """
    if is_dicom(data):
        return dicom_picture(data, min(max_pixels, MAX_SAMPLES))
    with opened(data, max_pixels) as image:
        return plain(upright(image)).convert("RGB")


def has_several(stream: BinaryIO) -> bool:
    """Whether a TIFF, GIF, WebP or PNG has several pages or frames, of which only the first is ever read. False for
    other files and for what cannot be told. The stream is left anywhere."""
    start = stream.read(4)
    stream.seek(0)
    if start not in PAGED:
        return False
    try:
        return bool(getattr(_header(stream), "is_animated", False))
    except Exception:  # as in _of_bytes; decoding says what is wrong
        return False


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The image with only its header read, once its claim to at most `max_pixels` is checked.

    Raises BadRecordError. DICOM files are refused: curation reads them as a source of their own, whose headers say
    whether text is burnt in.
    """
    image = _of_bytes(data)
    if image.width * image.height > max_pixels:
        cure = "" if max_pixels == MAX_PIXELS else " (max_pixels)"  # a setting of curation
        claim = f"{image.width} x {image.height} pixels claimed, at most {max_pixels:,} in all{cure}"
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, claim)
    with image:
        yield image


def upright(image: Image.Image) -> Image.Image:
    """The opened image decoded and turned by its EXIF orientation; the same object where it was upright already and
    has 8 bits a channel, or wide greys. Wide colours come as `wide.narrowed` has them.

    Raises BadRecordError.
    """
    try:
        if isinstance(image, ImageFile.ImageFile) and is_wide(image):
            picture = narrowed(image)
            picture.getexif()[ExifTags.Base.Orientation] = 1 if image.format == "TIFF" else _orientation(image)
            image = picture  # of a TIFF, Pillow has turned the pixels already
        image.load()
        return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    except BadRecordError:
        raise
    except Exception as error:  # as in _of_bytes
        reason = Reason.TRUNCATED_IMAGE if "truncated" in str(error) else Reason.UNREADABLE_IMAGE
        raise BadRecordError(reason, f"{type(error).__name__}: {error}") from None


@contextmanager
def without_warnings() -> Iterator[None]:
    """No warnings of odd metadata. Not for threads: filters of warnings belong to the whole process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _of_bytes(data: bytes) -> Image.Image:
    try:
        return _header(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadRecordError(Reason.UNREADABLE_IMAGE, _unknown(data)) from None
    except Exception as error:  # readers raise whatever a damaged header makes them stumble on
        raise BadRecordError(Reason.UNREADABLE_IMAGE, f"{type(error).__name__}: {error}") from None


def _header(stream: BinaryIO) -> Image.Image:
    own_limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # the caller's is checked instead, before anything is decoded
    try:
        return Image.open(stream, formats=FORMATS)
    finally:
        Image.MAX_IMAGE_PIXELS = own_limit


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as in _of_bytes; a picture is usable without its metadata
        return 1


def _unknown(data: bytes) -> str:
    """What the bytes are that no reader takes."""
    if data[:4] not in TIFF_MARKS:
        return f"{len(data):,} bytes beginning {data[:8]!r} are none of {', '.join(FORMATS)}"
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        bits = " ".join(map(str, tags.get(ExifTags.Base.BitsPerSample, ("?",))))
    except Exception:  # as in _of_bytes
        return "a TIFF whose header is damaged"
    return f"a TIFF with {bits} bits a sample, of a kind that is not read; save it with 8, 16 or 32 bits, uncompressed"
