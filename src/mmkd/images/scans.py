"""Scans on disk as tables and cards name them: a file of DICOM or NIfTI, or a folder with the slices of one series."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from mmkd.folders.paths import IMAGE_SUFFIXES, natural_key, read_inside
from mmkd.folders.regular import is_foreign, open_regular
from mmkd.images.decode import decode, without_warnings
from mmkd.images.dicom import PREAMBLE, every, is_dicom, pydicom_library, read_header
from mmkd.images.inflated import TooLargeError
from mmkd.images.nifti import SliceKeys, nifti_slices
from mmkd.reasons import BadRecordError, Reason

Header = dict[str, str]
"""The fields that are asked for, as text; "" where the file has none."""
DIRECTORY = "1.2.840.10008.1.3.10"  # class of a DICOMDIR, which lists the files of a medium
ORDER = ("SeriesInstanceUID", "InstanceNumber")


def header_at(path: Path, wanted: Sequence[str]) -> Header:
    """As `dicom_header`, of a file."""
    try:
        with open_regular(path) as stream:
            return dicom_header(stream, wanted)
    except OSError as error:
        raise BadRecordError(Reason.DAMAGED_FILE, f"it cannot be opened ({type(error).__name__})") from None


def dicom_header(stream: BinaryIO, wanted: Sequence[str]) -> Header:
    """These fields of a file. Raises BadRecordError, also for files that are not DICOM or hold no picture."""
    pydicom_library()
    names = ["SOPInstanceUID", "Rows", *wanted]
    try:
        if not is_dicom(stream.read(PREAMBLE.stop)):
            raise BadRecordError(Reason.OTHER_FILE, "it does not begin as a DICOM file does")
        with without_warnings():  # they quote the values of fields
            header = read_header(stream, names)
            found = {name: str(header.get(name) or "") for name in names}
            directory = header.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY
    except BadRecordError:
        raise
    except TooLargeError as error:
        raise BadRecordError(Reason.DECOMPRESSION_BOMB, str(error)) from None
    except Exception as error:  # parsers raise whatever a damaged header makes them stumble on
        raise BadRecordError(Reason.DAMAGED_FILE, f"its header cannot be read ({type(error).__name__})") from None
    if not found["Rows"]:
        if not found["SOPInstanceUID"] and not directory:
            raise BadRecordError(Reason.DAMAGED_FILE, "its header is cut off")
        raise BadRecordError(Reason.OTHER_FILE, "a DICOM file without a picture")
    return found


def instance_number(header: Header) -> float:
    """0 where it is none."""
    try:
        return float(header["InstanceNumber"])
    except ValueError:
        return 0.0


def slices_of_folder(folder: Path) -> list[str]:
    """The files of a folder in the order of the slices: DICOM files by their instance number, or pictures by name.

    Raises BadRecordError where there are none, both, or several series, of which nobody says which one is meant.
    """
    names = sorted((path.name for path in folder.iterdir() if not is_foreign(path.name)), key=natural_key)
    pictures = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    headers = {name: header for name in names if (header := _slice_header(folder / name)) is not None}
    series = {header["SeriesInstanceUID"] for header in headers.values()}
    if not pictures and not headers:
        raise BadRecordError(Reason.MISSING_FILE, f"{folder.name}: a folder without pictures or DICOM files")
    if len(series) > 1 or (pictures and headers):
        found = f"{len(pictures)} pictures and {len(headers)} DICOM files of {len(series)} series"
        raise BadRecordError(
            Reason.UNREADABLE_ROW,
            f"the image is a folder with {found}, expected the slices of one series; name its folder, or one file",
        )
    return pictures or sorted(headers, key=lambda name: instance_number(headers[name]))


def scan_picture(path: Path, keys: SliceKeys, modality: str) -> Image.Image:
    """The middle slice of a NIfTI volume, or of a folder of slices. Raises BadRecordError."""
    if path.is_dir():
        return decode(read_inside(path, every(slices_of_folder(path), 0)[0]))
    return next(nifti_slices(str(path), keys, 0, modality))[1].convert("RGB")


def _slice_header(path: Path) -> Header | None:
    """None for what holds no DICOM picture."""
    if path.is_dir() or path.name.lower().endswith(IMAGE_SUFFIXES):
        return None
    try:
        return header_at(path, ORDER)
    except BadRecordError as bad:
        if bad.reason == Reason.OTHER_FILE:
            return None
        raise
