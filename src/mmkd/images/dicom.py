"""DICOM files as pictures. Of a header only what decides the pixels is used, and nothing of it is stored."""

import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image

from mmkd.errors import DataError
from mmkd.folders.paths import MAX_FILE_BYTES
from mmkd.images.dicom_greys import grey_picture, palette_picture
from mmkd.images.hamming import Array
from mmkd.images.inflated import Inflated, TooLargeError
from mmkd.reasons import BadRecordError, Reason

PREAMBLE = slice(128, 132)
MARK = b"DICM"
MAX_SAMPLES = 89_478_485  # of one frame (rows x columns x colours); decoded to float64 they take 700 MB
DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax whose data set, all behind the file meta group, is deflated
MAX_INFLATED_BYTES = MAX_FILE_BYTES  # as many as a file has that is read as it is
PIXELS = 0x7FE0  # group of the fields with pixels


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does."""
    return data[PREAMBLE] == MARK


def dicom_picture(data: bytes) -> Image.Image:
    """The picture, RGB; of several frames the middle one. As `dicom_frames`."""
    return next(dicom_frames(data))[1]


def dicom_frames(data: bytes, step: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """The middle frame, or every `step`th so that it is among them, as RGB; each with its number, from 1 as in DICOM.

    One is decoded at a time. Raises BadRecordError, whose detail quotes nothing of the header, for pixels that cannot
    be decoded, DataError when pydicom is not installed.
    """
    pydicom = pydicom_library()
    try:
        header = read_header(io.BytesIO(data))
        _check_size(header)
        count = int(header.get("NumberOfFrames") or 1)
        places = range(count // 2 % step, count, step) if step else range(count // 2, count // 2 + 1)
        for place, stored in zip(places, pydicom.pixels.iter_pixels(header, indices=places), strict=True):
            yield place + 1, _picture(stored, header, place).convert("RGB")
    except TooLargeError as error:
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, str(error)) from error
    except zlib.error as error:
        raise BadRecordError(Reason.DAMAGED_FILE, "its deflated data are cut off or broken") from error
    except Exception as error:  # decoders raise whatever a damaged or rare header makes them stumble on
        detail = f"its pixels cannot be decoded ({type(error).__name__})"
        raise BadRecordError(Reason.UNREADABLE_IMAGE, detail) from error


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

    stream.seek(PREAMBLE.stop)  # dcmread's own reader: with another, what it holds to be deflated might get past us
    meta = _read_file_meta_info(stream)
    if meta.get("TransferSyntaxUID") != DEFLATED:
        stream.seek(0)
        tags = None if wanted is None else list(wanted)
        return pydicom.dcmread(stream, stop_before_pixels=wanted is not None, specific_tags=tags)
    inflated = cast(BinaryIO, Inflated(stream, MAX_INFLATED_BYTES))
    if wanted is None:
        header = read_dataset(inflated, False, True)
    else:
        tags = [Tag(name) for name in ("SpecificCharacterSet", *wanted)]
        header = read_dataset(inflated, False, True, stop_when=lambda tag, *_: tag >> 16 == PIXELS, specific_tags=tags)
    header.file_meta = meta
    return header


def _check_size(header: Any) -> None:
    """One frame is decoded at a time, so their number does not count."""
    samples = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel") or 1)
    if samples > MAX_SAMPLES:
        raise TooLargeError(f"{samples:,} values claimed for a frame, at most {MAX_SAMPLES:,} are decoded")


def _picture(stored: Array, header: Any, index: int) -> Image.Image:
    """stored: (H, W) or (H, W, 3), of frame `index`."""
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return palette_picture(stored, header)
    if stored.ndim == 3:  # pydicom has turned YBR into RGB
        return Image.fromarray((stored >> max(0, int(header.BitsStored) - 8)).astype(np.uint8))
    return grey_picture(stored, header, index)
