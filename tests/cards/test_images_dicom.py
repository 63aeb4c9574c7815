"""DICOM files as pictures, by hand-worked windows and by pydicom's own; H x W pixels."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from mmkd.cards.samples import FileImage
from mmkd.errors import DataError
from mmkd.images.dicom import dicom_picture
from mmkd.images.dicom_greys import windowed

VALUES_HW = np.array([[0, 1000, 2000], [3000, 4000, 4095]], np.uint16)


def dicom(pixels: np.ndarray, kind: str = "MONOCHROME2", **more: Any) -> bytes:
    """pixels: (H, W), frames of them, or (H, W, 3)."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = SecondaryCaptureImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.PatientName, header.PatientID = "Somebody^Real", "4711"
    colour = pixels.shape[-1] == 3 and kind != "MONOCHROME2" and kind != "MONOCHROME1"
    shape = pixels.shape[:2] if colour else pixels.shape[-2:]
    header.Rows, header.Columns = shape
    header.PhotometricInterpretation, header.SamplesPerPixel = kind, 3 if colour else 1
    header.BitsAllocated = 8 * pixels.itemsize
    header.BitsStored = 12 if pixels.itemsize == 2 else 8
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(pixels.dtype.kind == "i")
    if colour:
        header.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        header.NumberOfFrames = len(pixels)
    header.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(header, name, value)
    stream = io.BytesIO()
    dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def grey(data: bytes) -> list[list[int]]:
    picture = dicom_picture(data)
    assert picture.mode == "RGB"
    pixels_HWC = np.asarray(picture)
    assert (pixels_HWC == pixels_HWC[..., :1]).all()
    levels: list[list[int]] = pixels_HWC[..., 0].tolist()
    return levels


def test_the_window_of_the_header_decides_the_greys() -> None:
    # centre 2000.5 and width 2001 hold 1000 (black) to 3000 (white)
    assert grey(dicom(VALUES_HW, WindowCenter=2000.5, WindowWidth=2001)) == [[0, 0, 128], [255, 255, 255]]


def test_the_first_of_several_windows_counts_on_rescaled_values() -> None:
    # stored 1000 is -1024 + 1000 = -24 HU; the window from -1024 to 976 HU holds stored 0 to 2000
    rescale = {"RescaleIntercept": -1024, "RescaleSlope": 1}
    data = dicom(VALUES_HW, WindowCenter=[-23.5, 40], WindowWidth=[2001, 80], **rescale)
    assert grey(data) == [[0, 128, 255], [255, 255, 255]]


def test_without_a_window_the_range_of_the_values_is_shown() -> None:
    assert grey(dicom(VALUES_HW)) == [[0, 62, 125], [187, 249, 255]]
    signed = dicom((VALUES_HW.astype(np.int16) - 2048), RescaleSlope=2, RescaleIntercept=5)
    assert grey(signed) == [[0, 62, 125], [187, 249, 255]]


def test_monochrome1_is_turned_so_that_high_is_bright() -> None:
    window = {"WindowCenter": 2000.5, "WindowWidth": 2001}
    assert grey(dicom(VALUES_HW, "MONOCHROME1", **window)) == [[255, 255, 127], [0, 0, 0]]


def test_colours_are_kept() -> None:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(dicom_picture(dicom(pixels_HWC, "RGB"))), pixels_HWC)


def test_of_several_frames_the_middle_one_is_shown() -> None:
    frames = np.stack([np.full((2, 2), level, np.uint8) for level in (10, 20, 30)])
    frames[:, 0, 0] = 0
    shown = grey(dicom(frames, WindowCenter=128, WindowWidth=256))
    assert shown == [[0, 20], [20, 20]]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(2048, 4096), (1000, 350), (40.5, 80)])
def test_windows_agree_with_pydicom(function: str, centre: float, width: float) -> None:
    header = Dataset()
    header.WindowCenter, header.WindowWidth, header.VOILUTFunction = centre, width, function
    header.PhotometricInterpretation, header.BitsStored, header.PixelRepresentation = "MONOCHROME2", 12, 0
    expected_HW = apply_voi_lut(VALUES_HW.astype(np.float64), header) / 4095  # of 12 bits
    np.testing.assert_allclose(windowed(VALUES_HW.astype(np.float64), centre, width, function), expected_HW, atol=1e-9)


def test_a_window_of_one_value_is_a_threshold() -> None:
    # a pixel is white where it is above centre - 0.5 (PS3.3 C.11.2.1.2.1, w = 1)
    assert windowed(np.array([9.0, 9.5, 10.0]), 10, 1, "LINEAR").tolist() == [0, 0, 1]


def test_nothing_of_the_header_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(dicom(VALUES_HW))
    reference = FileImage(tmp_path / "a.dcm")
    picture = reference.read()
    assert picture.info == {}
    assert not dict(picture.getexif())
    assert "4711" not in repr(reference) + reference.digest()


def test_pixels_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    whole = dicom(VALUES_HW)
    undecoded, none = "its pixels cannot be decoded", "a DICOM file without a picture, or cut off before it"
    for data, why in ((whole[:-4], undecoded), (whole[:200], none), (dicom(VALUES_HW, PixelData=b""), undecoded)):
        (tmp_path / "a.dcm").write_bytes(data)
        with pytest.raises(DataError, match=rf"a\.dcm: not readable as an image \({why}.*replace the file or take it"):
            FileImage(tmp_path / "a.dcm").read()


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (FileImage(path).read, FileImage(path).digest):
        with pytest.raises(DataError, match=rf"a\.png: a .*{kind}, which is not opened; expected a regular file; take"):
            read()


def test_without_pydicom_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"DICOM files are read with pydicom; install mmkd with its extra \[dicom\]"):
        dicom_picture(b"")
