"""All files that pydicom brings for its own tests: each is read as pydicom reads it, or has its reason."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array

from mmkd.images.dicom import dicom_picture, is_dicom
from mmkd.reasons import BadRecordError

FOLDER = Path(pydicom.__file__).parent / "data/test_files"
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
NOT_DECODED = {  # a compression that only GPL libraries read, or data that are cut or broken
    "JPEG-lossy.dcm": "JPEG Extended",
    "JPGExtended.dcm": "JPEG Extended",
    "JPEG2000-embedded-sequence-delimiter.dcm": "JPEG 2000",
    "MR_truncated.dcm": "ValueError",
    "badVR.dcm": "ValueError",
}
NOT_DICOM = {"no_meta.dcm"}  # begins with a byte too many


def fields_of(path: Path) -> pydicom.Dataset | None:
    try:
        return pydicom.dcmread(path, force=True)
    except Exception:
        return None


def as_pydicom(header: pydicom.Dataset) -> np.ndarray:
    """The middle frame as pydicom's own functions show it, (H, W) or (H, W, 3); greys in any unit."""
    middle = int(header.get("NumberOfFrames") or 1) // 2
    frame = pixel_array(header, index=middle)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return pydicom.pixels.apply_color_lut(frame, header)
    if frame.ndim == 3:
        return frame
    return np.asarray(apply_windowing(apply_modality_lut(frame, header), header), float)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_each_file_is_read_as_by_pydicom_or_has_its_reason(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data, header = path.read_bytes(), fields_of(path)
        if not is_dicom(data):
            assert path.suffix != ".dcm" or path.name in NOT_DICOM
            return
        assert header is not None
        if "Rows" not in header or path.name in NOT_DECODED:
            with pytest.raises(BadRecordError, match=NOT_DECODED.get(path.name, "a DICOM file without a picture")):
                dicom_picture(data)
            return
        expected, found = as_pydicom(header), np.asarray(dicom_picture(data))
    wanted = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    if found.shape == wanted.shape and wanted.std():
        sign = -1 if header.PhotometricInterpretation == "MONOCHROME1" else 1
        slope, offset = np.polyfit(wanted.ravel(), found.ravel(), 1)
        assert sign * slope > 0
        np.testing.assert_allclose(found, slope * wanted + offset, atol=1.0)  # of 255 levels
    else:  # oblong pixels
        height, width = header.get("PixelSpacing") or header.get("PixelAspectRatio") or (1, 1)
        assert found.shape[0] / found.shape[1] == pytest.approx(
            header.Rows * float(height) / (header.Columns * float(width)), rel=0.05
        )
