"""NIfTI volumes of any number type, spacing and padding; nibabel is the oracle, also of its own test files."""

import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from format_files import READ, nifti_rows, table

from mmkd.images.nifti import AXES, Volume, grey_window, nifti_volume, slice_picture
from mmkd.reasons import BadRecordError, Reason

VALUES = np.random.default_rng(0).integers(0, 1000, (10, 12, 8)).astype(np.int16)
PAGE = (Path(__file__).parents[2] / "docs/results/format-files.md").read_text()


def volume(path: Path, value: np.ndarray, spacing: tuple[float, ...] = (1, 1, 1)) -> Volume:
    nibabel.save(nibabel.Nifti1Image(value, np.diag([*spacing, 1.0]), dtype=value.dtype), path)
    return nifti_volume(str(path))


def shown(found: Volume, axis: str, window: tuple[float, float] = (0, 100)) -> np.ndarray:
    place = found.value_XYZ.shape[AXES.index(axis)] // 2
    return np.asarray(slice_picture(found, AXES.index(axis), place, *grey_window(found, window)))


@pytest.mark.parametrize(
    "kind", ["int16", "int32", "int64", "uint64", ">i2", ">i8", "float32", "float64", "complex64", "uint16"]
)
def test_the_same_values_of_any_type_are_the_same_picture(tmp_path: Path, kind: str) -> None:
    expected = shown(volume(tmp_path / "a.nii", VALUES), "axial")
    np.testing.assert_array_equal(shown(volume(tmp_path / "b.nii.gz", VALUES.astype(kind)), "axial"), expected)
    several = np.stack([VALUES, VALUES * 0], axis=-1).astype(kind)
    np.testing.assert_array_equal(shown(volume(tmp_path / "c.nii", several), "axial"), expected)


def test_of_complex_values_the_magnitude_is_taken(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = volume(tmp_path / "a.nii", (VALUES * (0.6 + 0.8j)).astype(np.complex64))
    np.testing.assert_allclose(found.value_XYZ, VALUES, rtol=1e-5)


def test_colours_are_shown_as_they_are(tmp_path: Path) -> None:
    value = np.zeros((10, 12, 8), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    value["R"], value["G"] = 200, VALUES // 8
    seen = shown(volume(tmp_path / "a.nii", value), "axial")
    assert seen.shape == (12, 10, 3)
    np.testing.assert_array_equal(seen[..., 0], 200)
    np.testing.assert_array_equal(seen[..., 1], VALUES[:, :, 4].T[::-1, ::-1] // 8)


def ball(spacing: tuple[float, float, float], radius_mm: float = 20.0) -> np.ndarray:
    shape = [round(60 / length) for length in spacing]
    places = np.meshgrid(
        *((np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True)), indexing="ij"
    )
    return (np.sqrt(sum(place**2 for place in places)) < radius_mm).astype(np.int16) * 500


@pytest.mark.parametrize("spacing", [(1, 1, 5), (1, 3, 1), (2, 1, 1), (0.7, 0.7, 0.7), (-1, 1, 5)])
@pytest.mark.parametrize("axis", AXES)
def test_a_ball_is_round_from_every_side(tmp_path: Path, axis: str, spacing: tuple[float, float, float]) -> None:
    found = volume(tmp_path / "a.nii", ball(tuple(map(abs, spacing))), spacing)  # type: ignore[arg-type]
    seen = shown(found, axis) > 127
    assert seen.shape[0] == pytest.approx(seen.shape[1], rel=0.06)
    high, wide = (int(seen.any(axis=each).sum()) for each in (1, 0))
    assert high == pytest.approx(wide, rel=0.08)
    assert high * min(length for k, length in enumerate(map(abs, spacing)) if k != AXES.index(axis)) == pytest.approx(
        40, rel=0.08
    )


def test_spacing_turns_with_the_axes(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 5, 0], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1.0]])  # stored: front, head, right
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 7, 8), np.int16), affine), tmp_path / "a.nii")
    found = nifti_volume(str(tmp_path / "a.nii"))
    assert (found.value_XYZ.shape, found.spacing) == ((8, 6, 7), (5.0, 1.0, 2.0))


@pytest.mark.parametrize(("outside", "is_ct"), [(-32768, False), (-2000, True), (-3024, True), (np.nan, False)])
def test_padding_is_black_and_has_no_part_in_the_window(tmp_path: Path, outside: float, is_ct: bool) -> None:
    padded = VALUES.astype(np.float32)
    padded[:5] = outside
    volume(tmp_path / "a.nii", padded)
    found = nifti_volume(str(tmp_path / "a.nii"), is_ct)
    low, high = grey_window(found, (10, 90))
    assert (low, high) == tuple(np.percentile(VALUES[5:], (10, 90)))
    seen = np.asarray(slice_picture(found, 2, 4, low, high))
    assert not seen[:, 5:].any()
    assert seen[:, :5].std() > 50


def test_a_volume_of_padding_alone_is_shown(tmp_path: Path) -> None:
    assert not shown(volume(tmp_path / "a.nii", np.full((4, 4, 4), -32768, np.int16)), "axial").any()
    assert not shown(volume(tmp_path / "b.nii", np.full((4, 4, 4), np.nan, np.float32)), "axial").any()


def test_a_spacing_that_no_scanner_has_is_refused(tmp_path: Path) -> None:
    found = volume(tmp_path / "a.nii", VALUES, (1, 1, 5000))
    with pytest.raises(BadRecordError, match="correct the spacing") as caught:
        shown(found, "coronal")
    assert caught.value.reason == Reason.UNREADABLE_IMAGE
    assert shown(found, "axial").shape == (12, 10)


def test_each_file_of_nibabel_is_read_as_by_nibabel() -> None:
    """But for surfaces (CIFTI) and flat pictures."""
    rows = list(nifti_rows())
    assert len(rows) >= 8
    assert {row.file: row.error for row in rows if not row.error <= 1e-6} == {}
    assert [row.file for row in rows if row.outcome != READ and "expected at least three axes" not in row.says] == []
    lacking = [line for line in table("nibabel", rows) if line.rpartition(" | ")[0] not in PAGE]
    assert not lacking, "python bench/format_files.py prints the page's tables anew"
