"""Stored values of a DICOM frame as greys or colours, by what its header says of them; H x W pixels, C colours."""

from typing import Any

import numpy as np
from PIL import Image

from mmkd.images.dicom_geometry import padding
from mmkd.images.hamming import Array
from mmkd.images.plain import scaled_by_range

OF_A_FRAME = {"PixelValueTransformationSequence", "FrameVOILUTSequence"}  # functional groups that decide its greys
GREY_FIELDS = (
    "PhotometricInterpretation",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)


def grey_picture(stored_HW: Array, header: Any, index: int) -> Image.Image:
    """Frame `index` (from 0), 8 bits: rescaled; in its first window, else by its first table (VOI LUT), else by the
    range of its own values without padding; MONOCHROME1 is turned so that high values are bright. Padding is black.
    """
    found = grey_fields_of(header, index)
    little = header.file_meta.TransferSyntaxUID.is_little_endian
    value_HW = _rescaled(stored_HW, found, little)
    padded_HW = padding(stored_HW, value_HW, header)
    centre, width = _first(found.get("WindowCenter")), _first(found.get("WindowWidth"))
    if centre is not None and width is not None:
        grey = _grey(windowed(value_HW, centre, width, str(found.get("VOILUTFunction") or "LINEAR")))
    elif (table := _table(found.get("VOILUTSequence"), little)) is not None:
        first, entries = table
        black, white = int(entries.min()), int(entries.max())  # not its bits: 12-bit tables often claim 16
        grey = _grey((looked_up(value_HW, first, entries) - black) / max(1, white - black))
    else:
        grey = scaled_by_range(np.asarray(value_HW, np.float64), ~padded_HW)
    turned = found.get("PhotometricInterpretation") == "MONOCHROME1"
    grey = grey.point(lambda level: 255 - level) if turned else grey
    return Image.fromarray(np.where(padded_HW, np.uint8(0), np.asarray(grey))) if padded_HW.any() else grey


def palette_picture(stored_HW: Array, header: Any) -> Image.Image:
    """The colours, 8 bits each, that the header's three tables have for the values (PS3.3 C.7.6.3.1.5)."""
    if "RedPaletteColorLookupTableData" not in header:  # but segments of it
        from pydicom.pixels import apply_color_lut

        wide_HWC = apply_color_lut(stored_HW, header)
        return Image.fromarray((wide_HWC >> 8 * (wide_HWC.itemsize - 1)).astype(np.uint8))
    little = header.file_meta.TransferSyntaxUID.is_little_endian
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    tables = [_entries(header[f"{name}Descriptor"].value, header[f"{name}Data"].value, little) for name in names]
    wide_HWC = np.stack([looked_up(stored_HW, *table) for table in tables], axis=-1)
    wide = int(header[f"{names[0]}Descriptor"].value[2]) > 8 or any(entries.max() > 255 for _, entries in tables)
    return Image.fromarray((wide_HWC >> 8 * wide).astype(np.uint8))


def grey_fields_of(header: Any, index: int) -> dict[str, Any]:
    """The fields `GREY_FIELDS` with their values for one frame: its own functional groups stand above those that all
    frames share, and these above the rest of the header (PS3.3 C.7.6.16).
    """
    found = {name: header.get(name) for name in GREY_FIELDS}
    shared, own = (header.get(f"{which}FunctionalGroupsSequence") or [] for which in ("Shared", "PerFrame"))
    for groups in (*shared[:1], *own[index : index + 1]):
        for name in OF_A_FRAME:
            for group in (groups.get(name) or [])[:1]:
                found |= {field: group.get(field) for field in GREY_FIELDS if field in group}
    return found


def windowed(value_HW: Array, centre: float, width: float, function: str) -> Array:
    """0 (black) to 1 (white), by the functions of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3; unknown ones are LINEAR."""
    from scipy.special import expit  # where it is needed: a run that is finished decodes nothing

    if function == "SIGMOID" and width > 0:
        share_HW: Array = expit(4 * (value_HW - centre) / width)
        return share_HW
    if function != "LINEAR_EXACT":  # its window holds whole numbers, from the middle of the first to that of the last
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (value_HW > centre).astype(np.float64)
    return np.clip((value_HW - centre) / width + 0.5, 0, 1)


def looked_up(value_HW: Array, first: int, entries: Array) -> Array:
    """The entry of each value: `first` and all below have the first one, what lies beyond the table the last one."""
    place_HW = np.clip(np.rint(value_HW).astype(np.int64) - first, 0, len(entries) - 1)
    found_HW: Array = entries[place_HW]
    return found_HW


def _rescaled(stored_HW: Array, found: dict[str, Any], little: bool) -> Array:
    if (table := _table(found["ModalityLUTSequence"], little)) is not None:
        return looked_up(stored_HW, *table)
    slope, intercept = found["RescaleSlope"], found["RescaleIntercept"]
    if slope is None or intercept is None or float(slope) == 0:  # which would leave no picture: an error of the header
        return stored_HW
    return np.asarray(stored_HW, np.float64) * float(slope) + float(intercept)


def _table(sequence: Any, little: bool) -> tuple[int, Array] | None:
    """The first value that the first of these tables maps, and the entries from it on (PS3.3 C.11.1.1.1)."""
    item = sequence[0] if sequence else {}
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or data is None:
        return None
    return _entries(descriptor, data, little)


def _entries(descriptor: Any, data: Any, little: bool) -> tuple[int, Array]:
    count = int(descriptor[0]) % 2**16 or 2**16  # 0 stands for 65,536
    if isinstance(data, bytes):
        words = f"{'<' if little else '>'}u2"
        data = np.frombuffer(data, words if len(data) >= 2 * count else "u1")  # 8-bit entries may have 16 bits each
    return int(descriptor[1]), np.atleast_1d(np.asarray(data, np.int64))[:count]


def _grey(share_HW: Array) -> Image.Image:
    """share: 0 (black) to 1 (white)."""
    return Image.fromarray(np.rint(255 * share_HW).astype(np.uint8))


def _first(value: Any) -> float | None:
    """Several windows are alternatives; the first is what a viewer opens with."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, str | int | float) else float(value[0])
