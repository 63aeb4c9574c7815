"""All files that pydicom brings for its own tests: each is read as pydicom reads it, or has its reason."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from format_files import DICOM, OTHER, READ, REFUSED, as_pydicom, dicom_files, dicom_row, fields_of, levels_apart, table
from pydicom.encaps import encapsulate, get_frame

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


CUT = """
import sys
from pathlib import Path
from mmkd.images.dicom import dicom_picture
from mmkd.reasons import BadRecordError
for name in sys.argv[1:]:
    try:
        dicom_picture(Path(name).read_bytes())
        print("read")
    except BadRecordError as bad:
        print(bad.reason, bad.detail, sep=": ")
"""


def test_jpeg_ls_that_is_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    """CharLS goes on for ever without a marker at the end, in code that no signal interrupts."""
    whole = pydicom.dcmread(DICOM / "MR_small_jpeg_ls_lossless.dcm")
    frame = get_frame(whole.PixelData, 0, number_of_frames=1)
    shares = [1.0, *np.linspace(0.05, 0.95, 10).tolist()]
    for number, share in enumerate(shares):
        whole.PixelData = encapsulate([frame[: int(len(frame) * share)]])
        whole.save_as(tmp_path / f"{number}.dcm")
    files = [str(tmp_path / f"{number}.dcm") for number in range(len(shares))]
    done = subprocess.run([sys.executable, "-c", CUT, *files], capture_output=True, text=True, timeout=120, check=True)
    told = "unreadable_image: its JPEG-LS data are cut off; get the file again"
    assert done.stdout.splitlines() == ["read", *[told] * (len(shares) - 1)]
