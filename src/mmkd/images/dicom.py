"""DICOM files as pictures. Of a header only what decides the pixels is used, and nothing of it is stored."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from PIL import Image

from mmkd.errors import DataError
from mmkd.folders.paths import MAX_FILE_BYTES
from mmkd.images.dicom_geometry import pixel_shape
from mmkd.images.dicom_greys import grey_picture, palette_picture
from mmkd.images.hamming import Array
from mmkd.images.inflated import Inflated, TooLargeError
from mmkd.images.plain import scaled_by_range
from mmkd.images.square import square
from mmkd.reasons import BadRecordError, Reason

T = TypeVar("T")
PREAMBLE = slice(128, 132)
MARK = b"DICM"
MAX_SAMPLES = 89_478_485  # of one frame (rows x columns x colours); decoded to float64 they take 700 MB
DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax whose data set, all behind the file meta group, is deflated
MAX_INFLATED_BYTES = MAX_FILE_BYTES  # as many as a file has that is read as it is
FIRST_GROUPS = (0x0002, 0x0008)  # of the file's own fields, and of those that identify it
LAST_FIRST_ELEMENT = 0x0020  # a data set begins with its length, character set, image type, dates or class
LONG_FIELDS = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT")  # their length stands elsewhere, and no file begins with one
PLUGINS = {  # transfer syntax -> decoder of pydicom
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG Baseline
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",  # run lengths
}
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
END_OF_IMAGE, ENDING = b"\xff\xd9", 16
"""A marker that cannot stand in coded data, and in how many bytes at the end it is looked for, before padding. Without
it CharLS goes on decoding for ever."""
PIXELS = 0x7FE0  # group of the fields with pixels


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does: with its mark, or at once with a field of group 2 or 8, as older
    devices and some exports write it.
    """
    return data[PREAMBLE] == MARK or any(_begins_with_field(data, order) for order in "<>")


def _begins_with_field(data: bytes, order: str) -> bool:
    """Whether the first field is one of the first of a data set, and another one follows it."""
    if len(data) < PREAMBLE.stop:
        return False
    group, element = struct.unpack_from(f"{order}HH", data)
    explicit = data[4:6].isalpha() and data[4:6].isupper() and data[4:6] not in LONG_FIELDS
    (length,) = struct.unpack_from(f"{order}H", data, 6) if explicit else struct.unpack_from(f"{order}I", data, 4)
    if group not in FIRST_GROUPS or element > LAST_FIRST_ELEMENT or 8 + length > PREAMBLE.stop - 2:
        return False
    (following,) = struct.unpack_from(f"{order}H", data, 8 + length)
    return following in (*FIRST_GROUPS, group)


def every(items: Sequence[T], step: int) -> Sequence[T]:
    """Every `step`th, so that the middle one is among them; for 0 the middle one."""
    middle = len(items) // 2
    return items[middle % step :: step] if step else items[middle : middle + 1]


def dicom_picture(data: bytes, max_pixels: int = MAX_SAMPLES) -> Image.Image:
    """The picture, RGB; of several frames the middle one. As `dicom_frames`; what claims more pixels is not decoded."""
    return next(_frames(data, lambda count: every(range(count), 0), max_pixels))[1]


def dicom_frames(data: bytes, step: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """The middle frame, or every `step`th so that it is among them, as RGB; each with its number, from 1 as in DICOM.

    One is decoded at a time. Raises BadRecordError, whose detail quotes no text of the header, for pixels that cannot
    be decoded, DataError when pydicom is not installed.
    """
    return _frames(data, lambda count: every(range(count), step))


def dicom_frame(data: bytes, number: int) -> Image.Image:
    """One frame, from 1, as `dicom_frames` has it."""
    return next(_frames(data, lambda count: [number - 1]))[1]


def _frames(
    data: bytes, chosen: Callable[[int], Sequence[int]], max_pixels: int = MAX_SAMPLES
) -> Iterator[tuple[int, Image.Image]]:
    """chosen: places, from 0, out of their number."""
    pydicom = pydicom_library()
    syntax = ""
    try:
        header = read_header(io.BytesIO(data))
        if "Rows" not in header:
            raise BadRecordError(Reason.OTHER_FILE, "a DICOM file without a picture, or cut off before it")
        syntax = header.file_meta.TransferSyntaxUID
        _check_size(header, max_pixels)
        count = max(1, int(header.get("NumberOfFrames") or 1))
        plugin = _plugin(syntax)
        places = chosen(count)
        whole = _whole_frames(header, places, count) if syntax in JPEG_LS else places
        for place, stored in zip(
            places, pydicom.pixels.iter_pixels(header, indices=whole, decoding_plugin=plugin), strict=True
        ):
            yield place + 1, _picture(stored, header, place).convert("RGB")
    except BadRecordError:
        raise
    except TooLargeError as error:
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, str(error)) from error
    except zlib.error as error:
        raise BadRecordError(Reason.DAMAGED_FILE, "its deflated data are cut off or broken") from error
    except Exception as error:  # decoders raise whatever a damaged or rare header makes them stumble on
        detail = f"its pixels cannot be decoded ({type(error).__name__}{_compression(syntax)})"
        raise BadRecordError(Reason.UNREADABLE_IMAGE, detail) from error


def _whole_frames(header: Any, places: Sequence[int], count: int) -> Iterator[int]:
    """The places, each when its stream is seen to end. Raises BadRecordError for one that is cut off."""
    from pydicom.encaps import get_frame

    for place in places:
        if END_OF_IMAGE not in get_frame(header.PixelData, place, number_of_frames=count)[-ENDING:]:
            raise BadRecordError(Reason.UNREADABLE_IMAGE, "its JPEG-LS data are cut off; get the file again")
        yield place


def pydicom_library() -> Any:
    """pydicom. Raises DataError that says what to install."""
    try:
        import pydicom
    except ImportError as error:
        raise DataError("DICOM files are read with pydicom; install mmkd with its extra [dicom]") from error
    return pydicom


def read_header(stream: BinaryIO, wanted: Sequence[str] | None = None) -> Any:
    """The fields of a DICOM file, its pixels too; where `wanted` names fields, these alone and no pixels.

    As pydicom.dcmread reads it, but a deflated data set is inflated only as far as is needed and at most to
    MAX_INFLATED_BYTES. Raises TooLargeError where it has more, zlib.error where it is damaged, else what pydicom does.
    """
    import pydicom
    from pydicom.filereader import _read_file_meta_info, read_dataset
    from pydicom.tag import Tag

    stream.seek(PREAMBLE.start)
    stream.seek(
        PREAMBLE.stop if stream.read(len(MARK)) == MARK else 0
    )  # dcmread's own reader: with another, what it holds to be deflated might get past us
    meta = _read_file_meta_info(stream)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        stream.seek(0)
        tags = None if wanted is None else list(wanted)
        header = pydicom.dcmread(stream, stop_before_pixels=wanted is not None, specific_tags=tags, force=True)
        header.file_meta.setdefault("TransferSyntaxUID", _seen_syntax(header))
        return header
    inflated = cast(BinaryIO, Inflated(stream, MAX_INFLATED_BYTES))
    if wanted is None:
        header = read_dataset(inflated, False, True)
    else:
        tags = [Tag(name) for name in ("SpecificCharacterSet", *wanted)]
        header = read_dataset(inflated, False, True, stop_when=lambda tag, *_: tag >> 16 == PIXELS, specific_tags=tags)
    header.file_meta = meta
    return header


def _seen_syntax(header: Any) -> Any:
    """The transfer syntax of a file that does not name it, by how its fields were found to be written."""
    from pydicom import uid

    implicit, little = header.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _plugin(syntax: str) -> str:
    """The decoder of this compression, "" for pydicom's choice: the same picture wherever others are installed, too."""
    from pydicom.pixels import get_decoder

    wanted = PLUGINS.get(syntax, "")
    try:
        return wanted if wanted in get_decoder(syntax).available_plugins else ""
    except NotImplementedError:  # not a compression that pydicom knows; it says so itself
        return ""


def _compression(syntax: str) -> str:
    """In words for messages; nothing of what is no name that the standard gives."""
    from pydicom.uid import UID, AllTransferSyntaxes

    if syntax not in AllTransferSyntaxes or not UID(syntax).is_compressed:
        return ""
    return f", {UID(syntax).name}; with the extra [dicom] and pylibjpeg-libjpeg, or decompressed, it may be read"


def _check_size(header: Any, max_pixels: int) -> None:
    """One frame is decoded at a time, so their number does not count."""
    if (pixels := int(header.Rows) * int(header.Columns)) > max_pixels:
        raise TooLargeError(f"{pixels:,} pixels claimed for a frame, at most {max_pixels:,} are decoded")
    samples = pixels * int(header.get("SamplesPerPixel") or 1)
    if samples > MAX_SAMPLES:
        raise TooLargeError(f"{samples:,} values claimed for a frame, at most {MAX_SAMPLES:,} are decoded")


def _picture(stored: Array, header: Any, index: int) -> Image.Image:
    """stored: (H, W) or (H, W, 3), of frame `index`; with square pixels."""
    return square(_levels(stored, header, index), *pixel_shape(header, index))


def _levels(stored: Array, header: Any, index: int) -> Image.Image:
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return palette_picture(stored, header)
    if stored.ndim == 3:  # pydicom has turned YBR into RGB
        wide = int(header.BitsStored) > 8  # and may hold fewer bits than it claims
        return scaled_by_range(np.asarray(stored, np.float32)) if wide else Image.fromarray(stored.astype(np.uint8))
    return grey_picture(stored, header, index)
