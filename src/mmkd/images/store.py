"""The form in which a corpus stores images: checked by decoding, and described by hash and thumbnail."""

import hashlib
import io
from dataclasses import dataclass

from PIL import Image

from mmkd.images.box import Box
from mmkd.images.decode import opened, upright, without_warnings
from mmkd.images.metadata import without_metadata
from mmkd.images.plain import plain
from mmkd.images.thumbnails import perceptual_hash, small_grey, thumbnail_of
from mmkd.reasons import BadRecordError, Reason

UNCHANGED_FORMATS = ("JPEG", "PNG", "WEBP")
JPEG_QUALITY = 95
SLACK_BYTES = 65_536  # of headers; an original larger than its pixels and this carries something else
PNG_BIT_DEPTH = 24  # offset in the file


@dataclass(frozen=True)
class StoredImage:
    """An image as the corpus stores it. sha256: hex, of `data`. phash: see `thumbnails.perceptual_hash`. thumbnail: see
    `thumbnails.thumbnail_of`."""

    data: bytes
    width: int
    height: int
    sha256: str
    phash: int
    thumbnail: bytes


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, in 8-bit grey or RGB. data: its bytes without metadata where these can be stored, else
    None. claimed: width and height by its header, before it was turned."""

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
    """Decode and check an image; store its bytes where every reader will see the same picture, else encode it anew.

    Stored byte for byte, but without metadata (see `metadata`): upright 8-bit JPEG, PNG and WebP in grey or RGB, of one
    frame, up to `max_side` pixels on the long side. Others are turned upright, brought to 8-bit grey or RGB (see
    `plain`), resized with Lanczos where larger and stored as JPEG where they came as JPEG, else as PNG.

    Raises BadRecordError with the reason.
    """
    return store(open_picture(data, min_side, max_side, max_pixels), max_side)


def open_picture(data: bytes, min_side: int, max_side: int, max_pixels: int) -> Picture:
    """First half of `stored_image`: decoded and checked, in its own size."""
    with without_warnings(), opened(data, max_pixels) as image:
        claimed = image.size
        check_size(claimed, min_side, max_side)
        turned = upright(image)
        if turned is image and max(image.size) <= max_side and (kept := _unchanged(image, data)):
            return Picture(image, image.format, kept, claimed)
        return Picture(plain(turned), image.format, None, claimed)


def claimed_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header; nothing is decoded. Raises BadRecordError where that says why already."""
    with without_warnings(), opened(data, max_pixels) as image:
        return image.size


def check_size(claimed: tuple[int, int], min_side: int, max_side: int) -> None:
    """Raises BadRecordError for what would be too small once it is stored."""
    width, height = _fitted(claimed, max_side)
    if min(width, height) < min_side:
        raise BadRecordError(
            Reason.TINY_IMAGE,
            f"{claimed[0]} x {claimed[1]} pixels, stored {width} x {height}; the shorter side needs {min_side}",
        )


def store(picture: Picture, max_side: int) -> StoredImage:
    """Second half of `stored_image`: fitted and encoded where its bytes are not stored unchanged."""
    if picture.data is not None:
        return _described(picture.data, picture.image)
    image = picture.image
    if (size := _fitted(image.size, max_side)) != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    return _described(_encoded(image, picture.source_format), image)


def _unchanged(image: Image.Image, data: bytes) -> bytes | None:
    """The bytes without metadata, where they can be stored."""
    if image.format not in UNCHANGED_FORMATS or image.mode not in ("L", "RGB") or "transparency" in image.info:
        return None
    if getattr(image, "n_frames", 1) != 1 or (image.format == "PNG" and data[PNG_BIT_DEPTH] != 8):
        return None
    kept = without_metadata(data, image.format)
    most = len(image.getbands()) * image.width * image.height + SLACK_BYTES
    return kept if kept is not None and len(kept) <= most else None


def _fitted(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """Width and height with the long side at most `max_side`, in the same proportion."""
    longest = max(size)
    if longest <= max_side:
        return size
    return max(1, round(size[0] * max_side / longest)), max(1, round(size[1] * max_side / longest))


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
    return StoredImage(data, picture.width, picture.height, digest, perceptual_hash(small), thumbnail_of(small))
