"""DICOM files as pictures: nothing of a header but what decides its pixels is used, and nothing of it is kept."""

import io
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import numpy as np
from PIL import Image
from scipy.special import expit

from mmkd.corpus.hamming import Array
from mmkd.corpus.images import plain
from mmkd.corpus.inflated import Inflated, TooLargeError
from mmkd.corpus.sources.files import MAX_FILE_BYTES
from mmkd.errors import DataError

PREAMBLE = slice(128, 132)
MARK = b"DICM"
MAX_SAMPLES = 89_478_485  # of one frame (rows x columns x colours); decoded to float64 they take 700 MB
DEFLATED = "1.2.840.10008.1.2.1.99"  # the transfer syntax whose data set, all behind the file meta group, is deflated
MAX_INFLATED_BYTES = MAX_FILE_BYTES  # as many as a file has that is read as it is
FILE_META, PIXELS = 0x0002, 0x7FE0  # groups of fields


def is_dicom(data: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does."""
    return data[PREAMBLE] == MARK


def dicom_picture(data: bytes, where: str) -> Image.Image:
    """The picture, RGB; of several frames the middle one.

    Greys are rescaled and windowed as the header says: by its first window, else its table (VOI LUT), else by the range
    of their own values; MONOCHROME1 is turned so that high values are bright. Raises DataError that names `where` when
    pydicom is not installed or the pixels cannot be decoded; caused by TooLargeError where they are too many to try.
    """
    try:
        import pydicom  # noqa: F401  # asked for here, where its absence can be told from a damaged file
    except ImportError as error:
        raise DataError(f"{where}: a DICOM file, read with pydicom; install mmkd with its extra [dicom]") from error
    try:
        header = read_header(io.BytesIO(data))
        _check_size(header)
        return _picture(header).convert("RGB")
    except Exception as error:  # decoders raise whatever a damaged or rare header makes them stumble on
        raise DataError(
            f"{where}: no pixels of this DICOM file can be decoded ({type(error).__name__}: {error}); "
            "rare compressions need pylibjpeg beside pydicom, else replace the file or take it out of the data set"
        ) from error


def read_header(stream: BinaryIO, wanted: Sequence[str] | None = None) -> Any:
    """The fields of a DICOM file, its pixels too; where `wanted` names fields, these alone and no pixels.

    As pydicom.dcmread reads it, but a deflated data set is inflated only as far as is needed and at most to
    MAX_INFLATED_BYTES. Raises TooLargeError where it has more, zlib.error where it is damaged, else what pydicom does.
    """
    import pydicom
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    stream.seek(PREAMBLE.stop)
    meta = pydicom.dataset.FileMetaDataset(
        read_dataset(stream, False, True, stop_when=lambda tag, *_: tag >> 16 != FILE_META)
    )
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
    """Of the frames only one is decoded, so their number does not count."""
    samples = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel") or 1)
    if samples > MAX_SAMPLES:
        raise TooLargeError(f"{samples:,} values claimed for a frame, at most {MAX_SAMPLES:,} are decoded")


def _picture(header: Any) -> Image.Image:
    from pydicom import pixels

    stored = pixels.pixel_array(header, index=int(header.get("NumberOfFrames") or 1) // 2)
    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, header)
        return Image.fromarray((stored >> 8 * (stored.itemsize - 1)).astype(np.uint8))
    if stored.ndim == 3:  # pydicom has turned YBR into RGB
        return Image.fromarray((stored >> max(0, int(header.BitsStored) - 8)).astype(np.uint8))
    grey = _grey(pixels.apply_modality_lut(stored, header), header)
    return grey.point(lambda level: 255 - level) if kind == "MONOCHROME1" else grey


def _grey(value_HW: Array, header: Any) -> Image.Image:
    from pydicom import pixels

    centre, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if centre is None or width is None:
        value_HW = pixels.apply_voi_lut(value_HW, header)
        return plain(Image.fromarray(np.asarray(value_HW, np.float32)))
    share_HW = windowed(value_HW, centre, width, str(header.get("VOILUTFunction") or "LINEAR"))
    return Image.fromarray(np.rint(255 * share_HW).astype(np.uint8))


def _first(value: Any) -> float | None:
    """Several windows are alternatives; the first is what a viewer opens with."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, str | int | float) else float(value[0])


def windowed(value_HW: Array, centre: float, width: float, function: str) -> Array:
    """0 (black) to 1 (white), by the functions of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        share_HW: Array = expit(4 * (value_HW - centre) / width)
        return share_HW
    if function == "LINEAR":  # its window holds whole numbers, from the middle of the first to that of the last
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (value_HW > centre).astype(np.float64)
    return np.clip((value_HW - centre) / width + 0.5, 0, 1)
