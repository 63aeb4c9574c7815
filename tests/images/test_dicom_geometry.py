"""Oblong pixels of DICOM frames become square, and padding has no part in the greys."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_samples import dicom
from pydicom import Dataset, Sequence

from mmkd.images.decode import decode
from mmkd.images.dicom import dicom_picture
from mmkd.reasons import BadRecordError

DISC_HW = np.hypot(*np.meshgrid(np.arange(64) - 31.5, np.arange(64) - 31.5)) < 20
RAMP_HW = np.arange(32 * 32, dtype=np.int16).reshape(32, 32)
WITHOUT_WINDOW = {"WindowCenter": None, "WindowWidth": None}


def shown(path: Path, value_HW: np.ndarray, **more: Any) -> np.ndarray:
    size = {"Rows": value_HW.shape[0], "Columns": value_HW.shape[1]}
    signed = {"PixelRepresentation": int(value_HW.dtype.kind == "i"), "BitsStored": 16, "HighBit": 15}
    dicom(path / "a.dcm", "one", 1, **size, **signed, PixelData=value_HW.tobytes(), **(WITHOUT_WINDOW | more))
    data = (path / "a.dcm").read_bytes()
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(dicom_picture(data)))
    return np.asarray(dicom_picture(data))[..., 0]


def measures(height: float, width: float) -> Sequence:
    spacing, group = Dataset(), Dataset()
    spacing.PixelSpacing = [height, width]
    group.PixelMeasuresSequence = Sequence([spacing])
    return Sequence([group])


@pytest.mark.parametrize(
    "fields",
    [
        {"PixelSpacing": [2, 1]},
        {"ImagerPixelSpacing": [0.4, 0.2]},
        {"PixelAspectRatio": [2, 1]},
        {"SharedFunctionalGroupsSequence": measures(2, 1)},
        {"SharedFunctionalGroupsSequence": measures(1, 1), "PerFrameFunctionalGroupsSequence": measures(2, 1)},
        {"PixelSpacing": [0, 0], "PixelAspectRatio": [2, 1]},
    ],
)
def test_a_disc_in_oblong_pixels_is_round(tmp_path: Path, fields: dict[str, Any]) -> None:
    seen_HW = shown(tmp_path, DISC_HW[::2].astype(np.uint16), **fields) > 127
    assert seen_HW.shape == (64, 64)
    high, wide = (int(seen_HW.any(axis=axis).sum()) for axis in (1, 0))
    assert abs(high - wide) <= 1
    assert (seen_HW != DISC_HW).mean() < 0.03


@pytest.mark.parametrize("spacing", [[0.7, 0.7], [0.7, 0.7004], [0, 0], ["", 1], None])
def test_square_pixels_are_left_as_they_are(tmp_path: Path, spacing: Any) -> None:
    np.testing.assert_array_equal(shown(tmp_path, RAMP_HW, PixelSpacing=spacing), shown(tmp_path, RAMP_HW))


def test_a_shape_that_no_device_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecordError, match="pixels 5000 times as high as wide"):
        shown(tmp_path, RAMP_HW, PixelSpacing=[5000, 1])


@pytest.mark.parametrize(
    ("outside", "fields"),
    [
        (-32768, {}),
        (-32768, {"PixelPaddingValue": -32768}),
        (-3000, {"PixelPaddingValue": -3000}),
        (-3000, {"PixelPaddingValue": -4000, "PixelPaddingRangeLimit": -2500}),
        (-2000, {"RescaleSlope": 1, "RescaleIntercept": 0}),
        (-2000, {"RescaleSlope": 1, "RescaleIntercept": -1024}),
        (5000, {"PixelPaddingValue": 5000, "Modality": "MR"}),
    ],
)
def test_padding_is_black_and_has_no_part_in_the_range(tmp_path: Path, outside: int, fields: dict[str, Any]) -> None:
    padded_HW = RAMP_HW.copy()
    padded_HW[:8] = outside
    seen_HW = shown(tmp_path, padded_HW, **fields)
    assert not seen_HW[:8].any()
    inner = RAMP_HW[8:].astype(float)
    expected = np.rint((inner - inner.min()) * (255 / (inner.max() - inner.min())))
    np.testing.assert_array_equal(seen_HW[8:], expected)


def test_outside_ct_the_same_values_are_a_picture(tmp_path: Path) -> None:
    value_HW = RAMP_HW - 2500
    np.testing.assert_array_equal(shown(tmp_path, value_HW, Modality="MR"), shown(tmp_path, RAMP_HW))


def test_padding_of_a_turned_frame_is_black(tmp_path: Path) -> None:
    padded_HW = RAMP_HW.copy()
    padded_HW[:8] = 4095
    fields = {"PixelPaddingValue": 4095, "PhotometricInterpretation": "MONOCHROME1"}
    assert not shown(tmp_path, padded_HW, **fields)[:8].any()
    assert not shown(tmp_path, padded_HW, WindowCenter=500, WindowWidth=1000, **fields)[:8].any()


def test_a_picture_of_padding_alone_is_shown_as_it_is(tmp_path: Path) -> None:
    np.testing.assert_array_equal(shown(tmp_path, RAMP_HW - 4000), shown(tmp_path, RAMP_HW))


def test_a_slope_of_nought_is_no_slope(tmp_path: Path) -> None:
    none = shown(tmp_path, RAMP_HW, RescaleSlope=0, RescaleIntercept=-1024)
    np.testing.assert_array_equal(none, shown(tmp_path, RAMP_HW))


def test_colours_of_twelve_bits_in_sixteen_keep_their_contrast(tmp_path: Path) -> None:
    value_HWC = np.stack([RAMP_HW, RAMP_HW[::-1], RAMP_HW // 2], axis=-1).astype(np.uint16) * 3
    more = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    size = {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0}
    dicom(tmp_path / "a.dcm", "one", 1, **size, **more, **WITHOUT_WINDOW, PixelData=value_HWC.tobytes())
    seen_HWC = np.asarray(dicom_picture((tmp_path / "a.dcm").read_bytes()))
    np.testing.assert_array_equal(seen_HWC, np.rint(value_HWC.astype(np.float32) * (255 / value_HWC.max())))
