"""All files that pydicom brings for its own tests: each is read as pydicom reads it, or has its reason."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from format_files import DICOM, OTHER, READ, REFUSED, as_pydicom, dicom_files, dicom_row, fields_of, levels_apart, table

PAGE = (Path(__file__).parents[2] / "docs/results/format-files.md").read_text()
LEVELS, OBLONG = 1.0, 0.01  # of 255; 1 - correlation with the resized frame


def test_each_file_is_read_as_by_pydicom_or_has_its_reason() -> None:
    """What is refused is what pydicom itself makes no picture of; what it reads is read alike."""
    wrong, rows = [], []
    for path in dicom_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = dicom_row(path)
            if row.outcome != READ and has_picture(path):
                wrong.append(f"{row.file}: {row.outcome} ({row.says}), but pydicom reads it")
        if not row.error <= (OBLONG if "oblong" in row.says else LEVELS):
            wrong.append(f"{row.file}: {row.says}")
        rows.append(row)
    assert not wrong
    assert {row.outcome for row in rows} == {READ, REFUSED, OTHER}
    lacking = [line for line in table("pydicom", rows) if line.rpartition(" | ")[0] not in PAGE]
    assert not lacking, "python bench/format_files.py prints the page's tables anew"


def has_picture(path: Path) -> bool:
    header = fields_of(path)
    try:
        return header is not None and bool(as_pydicom(header).size)
    except Exception:
        return False


def test_the_comparison_notices_what_is_wrong() -> None:
    frame = np.arange(256.0).reshape(16, 16)
    assert levels_apart(frame, 3 * frame + 7, False) < 1e-6
    assert levels_apart(frame, -3 * frame + 7, False) == np.inf
    assert levels_apart(frame, -3 * frame + 7, True) < 1e-6
    changed = frame.copy()
    changed[3, 3] += 9
    assert levels_apart(changed, frame, False) > 8


def test_the_files_are_there() -> None:
    assert len(dicom_files()) > 80
    assert (DICOM / "CT_small.dcm").is_file()
    with pytest.raises(AttributeError):
        as_pydicom(fields_of(DICOM / "rtplan.dcm"))
