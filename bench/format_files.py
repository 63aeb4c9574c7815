"""All files that pydicom and nibabel bring for their own tests, read by mmkd and by these libraries.

    python bench/format_files.py

Prints a table of each. A file is read (then the picture is compared with the library's values: by the largest
difference in grey levels of 255, after the best linear fit where the unit is free; slices in oblong pixels by their
correlation with the library's frame, resized), refused with a reason, or no file of that format.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from posixpath import dirname
from typing import Any

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_windowing, pixel_array

from mmkd.images.dicom import dicom_picture, is_dicom
from mmkd.images.nifti import nifti_volume
from mmkd.reasons import BadRecordError

DICOM = Path(pydicom.__file__).parent / "data/test_files"
NIFTI = Path(nibabel.__file__).parent / "tests/data"
READ, REFUSED, OTHER = "read", "refused", "another format"


@dataclass(frozen=True)
class Row:
    """outcome: READ, REFUSED or OTHER. what: the library's words for its kind. says: how near, or the reason."""

    file: str
    what: str
    outcome: str
    says: str
    error: float = 0.0
    """Of what was read: the largest difference in levels of 255, for oblong pixels 1 - correlation, for volumes the
    largest difference as a share of the largest value."""


def main() -> None:
    warnings.simplefilter("ignore")
    for name, rows in (("pydicom", dicom_rows()), ("nibabel", nifti_rows())):
        print("\n".join(["", *table(name, list(rows))]))


def table(library: str, rows: Sequence[Row]) -> list[str]:
    """Lines of Markdown; neighbours in one folder that are refused for the same reason are one."""
    counts = ", ".join(f"{sum(row.outcome == kind for row in rows)} {kind}" for kind in (READ, REFUSED, OTHER))
    lines = [f"{library}: {len(rows)} files, {counts}", "", "| file | kind | mmkd | |", "| --- | --- | --- | --- |"]
    for (_, what, outcome, says), found in groupby(rows, _alike):
        names = [row.file for row in found]
        more = f" to `{names[-1].rpartition('/')[2]}` ({len(names)} files)" if len(names) > 1 else ""
        lines.append(f"| `{names[0]}`{more} | {what} | {outcome} | {says} |")
    return lines


def _alike(row: Row) -> tuple[str, str, str, str]:
    return row.file if row.outcome == READ else dirname(row.file), row.what, row.outcome, row.says


def dicom_files() -> list[Path]:
    return sorted(path for path in DICOM.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def nifti_files() -> list[Path]:
    return sorted(path for path in NIFTI.iterdir() if path.name.endswith((".nii", ".nii.gz")))


def dicom_rows() -> Iterator[Row]:
    return (dicom_row(path) for path in dicom_files())


def nifti_rows() -> Iterator[Row]:
    return (nifti_row(path) for path in nifti_files())


def dicom_row(path: Path) -> Row:
    name, data, header = path.relative_to(DICOM).as_posix(), path.read_bytes(), fields_of(path)
    if not is_dicom(data):
        return Row(name, "" if header is None else _kind(header), OTHER, "does not begin as DICOM")
    assert header is not None, path
    try:
        found = np.asarray(dicom_picture(data))
    except BadRecordError as bad:
        return Row(name, _kind(header), REFUSED, f"{bad.reason}: {bad.detail.replace('|', '/')}")
    expected = as_pydicom(header)
    wanted = expected if expected.ndim == 3 else np.stack([expected] * 3, axis=-1)
    if found.shape == wanted.shape:
        error = levels_apart(found, wanted, header.PhotometricInterpretation == "MONOCHROME1")
        return Row(name, _kind(header), READ, f"{error:.2f} levels apart", error)
    error = 1 - _resized_correlation(found, wanted)
    size = f"{wanted.shape[1]} x {wanted.shape[0]} shown as {found.shape[1]} x {found.shape[0]}"
    return Row(name, _kind(header), READ, f"oblong pixels, {size}, correlation {1 - error:.3f}", error)


def fields_of(path: Path) -> pydicom.Dataset | None:
    try:
        return pydicom.dcmread(path, force=True)
    except Exception:
        return None


def _kind(header: pydicom.Dataset) -> str:
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    name = str(getattr(syntax, "name", "") or "no transfer syntax").split(":")[0].split(" (")[0].removesuffix(" Image")
    frames = header.get("NumberOfFrames") or 1
    more = "" if str(frames) == "1" else f", {frames} frames"
    return f"{name}, {header.get('PhotometricInterpretation', 'no picture')}{more}"


def as_pydicom(header: pydicom.Dataset) -> np.ndarray:
    """The middle frame as pydicom's own functions show it, (H, W) or (H, W, 3); greys in any unit."""
    middle = int(header.get("NumberOfFrames") or 1) // 2
    frame = pixel_array(header, index=middle)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(pydicom.pixels.apply_color_lut(frame, header))
    if frame.ndim == 3:
        return np.asarray(frame)
    return np.asarray(apply_windowing(apply_modality_lut(frame, header), header), float)


def levels_apart(found: np.ndarray, wanted: np.ndarray, turned: bool) -> float:
    """The largest difference to the best linear fit of `wanted`; infinity where bright and dark are exchanged."""
    if not wanted.std():
        return float(np.ptp(found))
    slope, offset = np.polyfit(wanted.ravel(), found.ravel(), 1)
    apart = float(np.abs(found - (slope * wanted + offset)).max())
    return apart if (slope < 0) == turned else np.inf


def _resized_correlation(found: np.ndarray, wanted: np.ndarray) -> float:
    grey = Image.fromarray(wanted[..., 0].astype(np.float32))
    resized = np.asarray(grey.resize((found.shape[1], found.shape[0]), Image.Resampling.BILINEAR))
    return float(np.corrcoef(resized.ravel(), found[..., 0].ravel())[0, 1])


def nifti_row(path: Path) -> Row:
    image: Any = nibabel.load(path)
    what = f"{type(image).__name__}, {image.get_data_dtype()}, {' x '.join(map(str, image.shape))}"
    try:
        found = nifti_volume(str(path))
    except BadRecordError as bad:
        return Row(path.name, what, REFUSED, f"{bad.reason}: {bad.detail}")
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(image.get_fdata(), image.affine))
    wanted = turned.get_fdata()[(..., *(0 for _ in image.shape[3:]))]
    apart = np.where(np.isnan(wanted) & np.isnan(found.value_XYZ), 0.0, np.abs(found.value_XYZ - wanted))
    error = float(apart.max() / max(1e-300, np.nanmax(np.abs(wanted))))
    same = np.allclose(found.spacing, turned.header.get_zooms()[:3], rtol=1e-3)
    return Row(
        path.name,
        what,
        READ,
        f"{error:.0e} of the largest value apart, spacing {'the same' if same else 'not'}",
        error if same else np.inf,
    )


if __name__ == "__main__":
    main()
