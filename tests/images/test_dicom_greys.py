"""What a DICOM header says of greys and colours, against values worked by hand; H x W pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_samples import dicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from mmkd.images.dicom import dicom_picture
from mmkd.images.dicom_greys import grey_fields_of, grey_picture, looked_up, windowed


def fields(**values: Any) -> Dataset:
    """A data set without pixels."""
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def greys(values: list[float], index: int = 0, syntax: str = ExplicitVRLittleEndian, **told: Any) -> list[int]:
    """The levels of one row of stored values."""
    header = fields(**{"PhotometricInterpretation": "MONOCHROME2", **told})
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    row: list[int] = np.asarray(grey_picture(np.array([values]), header, index))[0].tolist()
    return row


def table(first: int, entries: list[int], bits: int, claimed: int | None = None) -> list[Dataset]:
    descriptor = [len(entries) if claimed is None else claimed, first, bits]
    return [fields(LUTDescriptor=descriptor, LUTData=np.array(entries, "<u2").tobytes())]


def test_each_window_function_by_hand() -> None:
    """Centre 40, width 80. LINEAR: (x - 39.5) / 79 + 0.5, white from 79; LINEAR_EXACT: (x - 40) / 80 + 0.5."""
    window = {"WindowCenter": 40, "WindowWidth": 80}
    assert greys([-1, 0, 20, 79, 80, 99], **window) == [0, 0, 65, 255, 255, 255]  # 20: 255 * 20 / 79 = 64.56
    exact = greys([-1, 0, 20, 79, 80, 99], **window, VOILUTFunction="LINEAR_EXACT")
    assert exact == [0, 0, 64, 252, 255, 255]  # 20: 255 / 4 = 63.75; 79: 255 * 79 / 80 = 251.8
    # 1 / (1 + exp(-4 (x - 40) / 80)): at 40 a half, at 60 1 / (1 + 1 / e) = 0.7311, at 20 as much less
    assert greys([20, 40, 60], **window, VOILUTFunction="SIGMOID") == [69, 128, 186]


def test_odd_windows_cost_nothing() -> None:
    values = np.array([9.0, 10.0, 11.0])
    assert windowed(values, 10, 0, "SIGMOID").tolist() == [0, 1, 1]
    assert windowed(values, 10, 0, "LINEAR_EXACT").tolist() == [0, 0, 1]
    assert windowed(values, 10, 3, "no such").tolist() == windowed(values, 10, 3, "LINEAR").tolist() == [0.25, 0.75, 1]


def test_the_first_of_several_windows_counts() -> None:
    assert greys([0, 100], WindowCenter=[50.5, 1000], WindowWidth=[101, 10]) == [0, 255]


def test_monochrome1_is_turned_after_the_window() -> None:
    window = {"WindowCenter": 50.5, "WindowWidth": 101}
    assert greys([0, 20, 100], **window) == [0, 51, 255]
    assert greys([0, 20, 100], **window, PhotometricInterpretation="MONOCHROME1") == [255, 204, 0]


def test_a_window_is_of_rescaled_values() -> None:
    # 1000, 1050, 1100 stored are -24, 26, 76 HU by (1, -1024); by (2, -1024) they are 976, 1076, 1176
    window = {"WindowCenter": 26.5, "WindowWidth": 101}
    assert greys([1000, 1050, 1100], **window, RescaleSlope=1, RescaleIntercept=-1024) == [0, 128, 255]
    assert greys([1000, 1050, 1100], **window, RescaleSlope=2, RescaleIntercept=-1024) == [255, 255, 255]


def test_a_modality_table_of_any_depth_comes_before_the_window() -> None:
    # from stored 10 on: 0, 50, 100; below 10 as 10, above 12 as 12
    modality = table(10, [0, 50, 100], bits=12)
    window = {"WindowCenter": 50.5, "WindowWidth": 101}
    assert greys([3, 10, 11, 12, 99], ModalityLUTSequence=modality, **window) == [0, 0, 128, 255, 255]
    ignored = {"RescaleSlope": 7, "RescaleIntercept": 7}  # a header may not have both
    assert greys([11], ModalityLUTSequence=modality, **window, **ignored) == [128]


def test_a_voi_table_shows_greys_where_there_is_no_window() -> None:
    voi = table(100, [0, 10, 40, 255], bits=8)
    assert greys([0, 100, 101, 102, 103, 4095], VOILUTSequence=voi) == [0, 0, 10, 40, 255, 255]
    window = {"WindowCenter": 102, "WindowWidth": 2}
    assert greys([100, 101, 102], VOILUTSequence=voi, **window) == [0, 0, 255]
    rescaled = {"RescaleSlope": 0.5, "RescaleIntercept": 50}
    assert greys([102, 104], VOILUTSequence=voi, **rescaled) == [10, 40]


def test_a_table_of_fewer_bits_than_it_claims_is_as_bright() -> None:
    entries = [0, 1000, 2047, 4095]
    assert greys([0, 1, 2, 3], VOILUTSequence=table(0, entries, bits=16)) == [0, 62, 127, 255]
    assert greys([0, 1, 2, 3], VOILUTSequence=table(0, entries, bits=12)) == [0, 62, 127, 255]


def test_tables_as_files_hold_them() -> None:
    whole = list(range(2**16))
    ends = [0, 2**15, 2**16 - 1]
    assert greys(ends, VOILUTSequence=table(0, whole, bits=16, claimed=0)) == [0, 128, 255]  # 0 entries: 65,536
    bytewise = [fields(LUTDescriptor=[3, 0, 8], LUTData=bytes([0, 51, 255]))]
    assert greys([0, 1, 2], VOILUTSequence=bytewise) == [0, 51, 255]
    big = [fields(LUTDescriptor=[3, 0, 12], LUTData=np.array([0, 51, 255], ">u2").tobytes())]
    assert greys([0, 1, 2], VOILUTSequence=big, syntax=ExplicitVRBigEndian) == [0, 51, 255]
    numbers = [fields(LUTDescriptor=[3, -1, 12], LUTData=[0, 51, 255])]
    assert greys([-1, 0, 1], VOILUTSequence=numbers) == [0, 51, 255]
    flat = [fields(LUTDescriptor=[1, 0, 12], LUTData=7)]
    assert greys([0, 1], VOILUTSequence=flat) == [0, 0]
    assert looked_up(np.array([[0.4, 0.6]]), 0, np.array([5, 9])).tolist() == [[5, 9]]


def test_each_frame_has_what_its_own_groups_say_else_what_all_share() -> None:
    own = [
        fields(FrameVOILUTSequence=[fields(WindowCenter=[50.5, 7], WindowWidth=[101, 7])]),
        fields(
            FrameVOILUTSequence=[fields(WindowCenter=150, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")],
            PixelValueTransformationSequence=[fields(RescaleSlope=2, RescaleIntercept=0)],
        ),
        fields(),
    ]
    shared = fields(
        FrameVOILUTSequence=[fields(WindowCenter=1000.5, WindowWidth=2001)],
        PixelValueTransformationSequence=[fields(RescaleSlope=1, RescaleIntercept=-100)],
    )
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": own}
    assert greys([100, 150, 200], 0, **groups) == [0, 128, 255]
    assert greys([50, 75, 100], 1, **groups) == [0, 128, 255]
    assert greys([100, 1100, 2100], 2, **groups) == [0, 128, 255]
    assert greys([100, 1100, 2100], 9, **groups) == [0, 128, 255]  # more frames than groups
    header = fields(WindowCenter=1, WindowWidth=2, **groups)
    assert [float(grey_fields_of(header, 1)[name]) for name in ("WindowCenter", "RescaleSlope")] == [150, 2]
    assert greys([0, 20, 100], 0, WindowCenter=50.5, WindowWidth=101, PerFrameFunctionalGroupsSequence=[]) == [
        0,
        51,
        255,
    ]


def rgb(path: Path, **more: Any) -> list[list[int]]:
    """Colours of a picture of one row of three pixels."""
    dicom(path, "one", 1, Rows=1, Columns=3, BitsAllocated=8, BitsStored=8, HighBit=7, **more)
    pixels: list[list[int]] = np.asarray(dicom_picture(path.read_bytes()))[0].tolist()
    return pixels


COLOURS = {"Red": [255, 0, 16], "Green": [0, 255, 32], "Blue": [0, 0, 64]}


@pytest.mark.parametrize(
    ("bits", "words", "scale"),
    [(16, True, 257), (8, False, 1), (8, True, 1), (8, True, 257)],  # 0xAB in 8 bits is 0xABAB in 16
)
def test_a_palette_gives_the_colours(tmp_path: Path, bits: int, words: bool, scale: int) -> None:
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "PixelData": bytes([2, 1, 0, 0])}
    for name, levels in COLOURS.items():
        entries = (np.array([*levels, 0]) * scale).astype("<u2" if words else "u1")[: 3 if words else 4]
        told[f"{name}PaletteColorLookupTableDescriptor"] = [3, 0, bits]
        told[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    assert rgb(tmp_path / "a", **told) == [[16, 32, 64], [0, 255, 0], [255, 0, 0]]


def test_a_palette_in_segments_gives_the_colours(tmp_path: Path) -> None:
    told: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR", "PixelData": bytes([2, 1, 0, 0])}
    for name, levels in COLOURS.items():
        told[f"{name}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        segment = [0, 3, *(257 * level for level in levels)]  # discrete, three entries
        told[f"Segmented{name}PaletteColorLookupTableData"] = np.array(segment, "<u2").tobytes()
    assert rgb(tmp_path / "a", **told) == [[16, 32, 64], [0, 255, 0], [255, 0, 0]]


@pytest.mark.parametrize("plane", [0, 1])
def test_ybr_becomes_rgb(tmp_path: Path, plane: int) -> None:
    """R = Y + 1.402 (Cr - 128), G = Y - 0.3441 (Cb - 128) - 0.7141 (Cr - 128), B = Y + 1.772 (Cb - 128)."""
    pixels_WC = np.array([[128, 128, 128], [100, 128, 178], [100, 178, 128]], np.uint8)
    stored = (pixels_WC.T if plane else pixels_WC).tobytes() + b"\0"
    told = {"SamplesPerPixel": 3, "PlanarConfiguration": plane, "PixelData": stored}
    found = rgb(tmp_path / "a", PhotometricInterpretation="YBR_FULL", **told)
    expected = [[128, 128, 128], [170, 64, 100], [100, 83, 189]]
    assert np.abs(np.array(found) - expected).max() <= 1
    assert rgb(tmp_path / "b", PhotometricInterpretation="RGB", **told) == pixels_WC.tolist()
