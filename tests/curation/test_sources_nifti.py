"""NIfTI volumes as a source: which slices, how they look, and what damage costs."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from corpus_samples import everything, reasons, records, write_files
from PIL import Image

from mmkd.curation.records.record import Rejected
from mmkd.curation.settings.sources import NiftiSource
from mmkd.curation.sources.nifti import NiftiReader
from mmkd.errors import DataError


def volume(path: Path, values_XYZ: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values_XYZ, np.eye(4) if affine is None else affine), path)
    return path


def nifti(folder: Path, **options: Any) -> NiftiReader:
    return NiftiReader(NiftiSource.model_validate({"kind": "nifti", "name": "n", "path": folder, **options}))


def picture(data: bytes) -> np.ndarray:
    import io

    return np.asarray(Image.open(io.BytesIO(data)))


def corner(right: bool, front: bool, top: bool) -> np.ndarray:
    """A volume of 20 x 24 x 28 voxels with one bright corner, in the directions of RAS."""
    values_XYZ = np.zeros((20, 24, 28), np.float32)
    ends = [slice(-8, None) if far else slice(0, 8) for far in (right, front, top)]
    values_XYZ[tuple(ends)] = 100
    return values_XYZ


def test_slices_look_as_radiologists_see_them(tmp_path: Path) -> None:
    volume(tmp_path / "head_mri/a.nii.gz", corner(right=True, front=True, top=True))
    for axis, shape, place in (("axial", (24, 20), 26), ("coronal", (28, 20), 20), ("sagittal", (28, 24), 18)):
        found = {record.where: record for record in records(nifti(tmp_path, axis=axis, step=4).shards())}
        record = found[f"head_mri/a.nii.gz:{place}"]
        seen_HW = picture(record.image)
        assert seen_HW.shape == shape
        assert seen_HW[0, 0] == 255  # right or front is left, front or top is up
        assert seen_HW[-1, -1] == seen_HW[0, -1] == seen_HW[-1, 0] == 0
        assert record.caption == "head mri"


def test_the_header_s_orientation_is_followed(tmp_path: Path) -> None:
    values_XYZ = corner(right=True, front=True, top=True)
    volume(tmp_path / "a/straight.nii", values_XYZ)
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])  # stored from right to left and from front to back
    volume(tmp_path / "a/turned.nii", values_XYZ[::-1, ::-1].copy(), flipped)
    straight, turned = (
        [record.image for record in shard.records()]
        for shard in nifti(tmp_path).shards()  # type: ignore[union-attr]
    )
    assert straight == turned


def test_step_window_captions_and_groups(tmp_path: Path) -> None:
    values_XYZ = np.broadcast_to(np.arange(11, dtype=np.float32)[:, None, None] * 10, (11, 12, 13)).copy()
    values_XYZ[0, 0, 0] = np.nan
    volume(tmp_path / "liver/a.nii", np.stack([values_XYZ, np.zeros_like(values_XYZ)], axis=-1))
    reader = nifti(
        tmp_path, step=5, window=(10, 90), templates=["{plane} slice of the {name}"], names={"liver": "Liver"}
    )
    found = records(reader.shards())
    assert [record.where for record in found] == ["liver/a.nii:1", "liver/a.nii:6", "liver/a.nii:11"]
    assert {record.caption for record in found} == {"axial slice of the Liver"}
    assert {record.group for record in found} == {"n/liver/a.nii"}
    row = picture(found[1].image)[0][::-1].astype(int)
    assert row[0] == row[1] == 0
    assert row[-1] == row[-2] == 255
    assert (np.diff(row[1:10]) > 25).all()


def test_damage_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = volume(tmp_path / "a/good.nii.gz", corner(True, True, True)).read_bytes()
    write_files(tmp_path, {"a/cut.nii.gz": good[: len(good) // 2], "a/text.nii": b"no volume"})
    volume(tmp_path / "a/flat.nii", np.zeros((5, 5), np.float32))
    assert reasons(nifti(tmp_path).shards()) == [
        ("a/cut.nii.gz", "damaged_file"),
        ("a/flat.nii", "unreadable_image"),
        ("a/text.nii", "damaged_file"),
    ]
    monkeypatch.setattr("mmkd.images.nifti.MAX_VOXELS", 1000)
    assert ("a/good.nii.gz", "decompression_bomb") in reasons(nifti(tmp_path).shards())
    assert records(nifti(tmp_path, include={"class": ["b"]}).shards()) == []
    assert len(everything(nifti(tmp_path).shards())) == 4


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_damaged_header_costs_its_volume_alone(tmp_path: Path, kind: type) -> None:
    volume(tmp_path / "a/sound.nii", corner(True, True, True))
    damaged = tmp_path / "a/damaged.nii"
    nibabel.save(kind(np.ones((4, 5, 6), np.float32), np.eye(4)), damaged)
    sound = damaged.read_bytes()
    header_bytes = len(sound) - 4 * 5 * 6 * 4
    generator = np.random.default_rng(5)
    damage = set()
    for _ in range(150):
        mutated = bytearray(sound)
        place = int(generator.integers(header_bytes - 4))
        ends = [generator.bytes(4), b"\xff" * 4, bytes(4), b"\x00\x00\xc0\x7f"]  # the last: not a number
        mutated[place : place + 4] = ends[int(generator.integers(4))]
        damaged.write_bytes(bytes(mutated))
        first, *others = nifti(tmp_path).shards()
        found = everything([first])
        assert found
        damage |= {one.detail.partition(":")[0] for one in found if isinstance(one, Rejected)}
    assert "HeaderDataError" in damage
    assert records(others)


def test_a_volume_without_directions_is_listed(tmp_path: Path) -> None:
    path = volume(tmp_path / "a/flat.nii", corner(True, True, True))
    header = bytearray(path.read_bytes())
    header[280:296] = np.full(4, np.nan, np.float32).tobytes()  # srow_x of the NIfTI-1 header
    path.write_bytes(bytes(header))
    assert reasons(nifti(tmp_path).shards()) == [("a/flat.nii", "damaged_file")]


def test_volumes_need_a_folder_of_their_class(tmp_path: Path) -> None:
    volume(tmp_path / "a.nii", corner(True, True, True))
    with pytest.raises(DataError, match="none in a folder of its class"):
        nifti(tmp_path).shards()


def test_values_too_far_apart_have_no_window(tmp_path: Path) -> None:
    values_XYZ = np.zeros((4, 4, 4), np.float32)
    values_XYZ[:2], values_XYZ[2:] = -3e38, 3e38
    volume(tmp_path / "a/far.nii", values_XYZ)
    volume(tmp_path / "a/wide.nii", values_XYZ / 2)
    found = everything(nifti(tmp_path, window=(50, 100), step=9).shards())
    assert [(item.where, getattr(item, "reason", "")) for item in found] == [
        ("a/far.nii", "unreadable_image"),
        ("a/wide.nii:2", ""),
    ]
    wide = picture(found[1].image)  # type: ignore[union-attr]
    assert set(wide[0]) == {0, 255}
