"""The shape of a DICOM frame's pixels, and which of them are padding; H x W pixels."""

from typing import Any

import numpy as np

from mmkd.images.hamming import Array

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""Height and width of a pixel, in this order in all of them; the first that a header fills counts."""
LOWEST_16 = -32768  # what devices fill with that declare nothing
NO_TISSUE_HU = -2000.0  # CT values from here down are outside the field of view, declared or not: air has -1000


def pixel_shape(header: Any, index: int) -> tuple[float, float]:
    """Height and width of a pixel of frame `index` (from 0); (1, 1) where the header says nothing that can be used."""
    for fields in (*_measures(header, index), header):
        for name in SPACINGS:
            if (shape := _two_lengths(fields.get(name))) is not None:
                return shape
    return 1.0, 1.0


def padding(stored_HW: Array, value_HW: Array, header: Any) -> Array:
    """Where there is no picture, boolean: pixels of the declared value or range (PS3.3 C.7.5.1.1.2), the lowest value
    of signed 16 bits, and in CT what is far below air. stored, value: before and after rescaling.

    Where that would be the whole picture, nothing of it.
    """
    padded_HW = _declared(stored_HW, header)
    if stored_HW.dtype.kind == "i":
        padded_HW |= stored_HW == LOWEST_16
    if str(header.get("Modality") or "").upper() == "CT":
        padded_HW |= np.asarray(value_HW) <= NO_TISSUE_HU
    return np.zeros_like(padded_HW) if padded_HW.all() else padded_HW


def _declared(stored_HW: Array, header: Any) -> Array:
    ends = [header.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(ends[0], int):
        return np.zeros(stored_HW.shape, bool)
    wanted = [_as_stored(end, header) for end in ends if isinstance(end, int)]
    return (stored_HW >= min(wanted)) & (stored_HW <= max(wanted))


def _as_stored(value: int, header: Any) -> int:
    """As pixels have it: files write the field with or without its sign, and with more bits than are stored."""
    bits = int(header.BitsStored)
    value %= 2**bits
    return value - 2**bits if header.PixelRepresentation == 1 and value >= 2 ** (bits - 1) else value


def _measures(header: Any, index: int) -> list[Any]:
    """The pixel measures of the frame's own functional groups, then of those that all frames share."""
    shared, own = (header.get(f"{which}FunctionalGroupsSequence") or [] for which in ("Shared", "PerFrame"))
    groups = [*own[index : index + 1], *shared[:1]]
    return [measures for group in groups for measures in (group.get("PixelMeasuresSequence") or [])[:1]]


def _two_lengths(value: Any) -> tuple[float, float] | None:
    try:
        height, width = (float(one) for one in value)
    except (TypeError, ValueError):  # none, one, or three of them, or no numbers
        return None
    return (height, width) if 0 < height < np.inf and 0 < width < np.inf else None
