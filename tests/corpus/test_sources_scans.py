"""DICOM series and NIfTI volumes as sources: which slices, how they look, and that nobody is named."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from corpus_samples import everything, reasons, records, run, write_files
from PIL import Image
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, generate_uid

from mmkd.corpus.dicom import dicom_picture
from mmkd.corpus.records import Rejected
from mmkd.corpus.settings import CurateSettings, DicomSource, NiftiSource
from mmkd.corpus.sources.dicom_series import SAID, DicomReader, caption_of, spoken
from mmkd.corpus.sources.nifti import NiftiReader
from mmkd.errors import DataError

PATIENT = ("Doe^Jane", "MRN471100", "19620229")


def dicom(path: Path, series: str, place: int, **more: Any) -> None:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid(
        entropy_srcs=[series, str(place)]
    )
    header.PatientName, header.PatientID, header.PatientBirthDate = PATIENT
    header.Modality, header.BodyPartExamined, header.SeriesInstanceUID = (
        "CT",
        "CHEST",
        generate_uid(entropy_srcs=[series]),
    )
    header.StudyDescription = f"chest of {PATIENT[0]}"
    header.InstanceNumber = place
    header.Rows = header.Columns = 32
    header.PhotometricInterpretation, header.SamplesPerPixel, header.PixelRepresentation = "MONOCHROME2", 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.WindowCenter, header.WindowWidth = 2000, 4000
    values = np.random.default_rng(place + len(series)).integers(0, 4096, (32, 32), np.uint16)
    header.PixelData = np.asarray(values).tobytes()
    for name, value in more.items():
        setattr(header, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, header, enforce_file_format=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A patient's folder, named as hospitals name them, with two series, one file that is damaged and one that is
    something else."""
    folder = tmp_path / "scans"
    for place in range(7):
        dicom(folder / f"{PATIENT[0]}/IM{6 - place}", "one", place)
    dicom(folder / f"{PATIENT[0]}/x.dcm", "two!", 1, BurnedInAnnotation="YES")
    dicom(folder / "other/y.dcm", "three", 1, PatientID="other", PixelData=b"cut")
    write_files(folder, {f"{PATIENT[0]}/notes.txt": b"of a patient", "other/short.dcm": bytes(128) + b"DICM\x01"})
    return folder


def source(folder: Path, **options: Any) -> DicomReader:
    return DicomReader(DicomSource.model_validate({"kind": "dicom", "name": "d", "path": folder, **options}))


def test_every_few_slices_of_a_series_from_its_middle(archive: Path) -> None:
    whole = records(source(archive, only={"body_part": ["chest"]}).shards())
    assert len(whole) == 7
    assert [record.where for record in whole] == [f"file {6 - place}" for place in range(7)]
    few = records(source(archive, step=3).shards())
    assert [record.id for record in few] == [whole[place].id for place in (0, 3, 6)]
    assert {record.caption for record in whole} == {"CT of the chest"}
    assert {record.modality for record in whole} == {"CT"}
    assert len({record.group for record in whole}) == 1
    assert records(source(archive, only={"modality": ["MRI"]}).shards()) == []


def test_burnt_in_text_is_dropped_or_told(archive: Path) -> None:
    assert ("file 7", "burnt_in_text") not in reasons(source(archive, burnt_in="keep").shards())
    assert [reason for _, reason in reasons(source(archive).shards())].count("burnt_in_text") == 1
    kept = [record for record in records(source(archive, burnt_in="keep").shards()) if record.labels]
    assert [record.labels for record in kept] == [("burnt-in text",)]


def test_damaged_files_are_listed(archive: Path) -> None:
    found = [reason for _, reason in reasons(source(archive).shards())]
    assert sorted(found) == ["burnt_in_text", "damaged_file", "unreadable_image"]


def test_no_byte_of_the_corpus_names_the_patient(archive: Path, tmp_path: Path) -> None:
    settings = CurateSettings.model_validate(
        {"sources": [{"kind": "dicom", "name": "d", "path": archive, "burnt_in": "keep"}], "max_rejected": 0.9}
    )
    run(settings, tmp_path / "out")
    for path in (file for file in (tmp_path / "out").rglob("*") if file.is_file()):
        content = path.read_bytes().replace(str(tmp_path).encode(), b"")
        for told in (*PATIENT, "Doe", "Jane"):
            assert told.encode() not in content, path


def test_groups_are_keyed_by_the_file(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"secret")
    (tmp_path / "other").write_bytes(b"another")
    plain, one, other = (
        records(source(archive, **options).shards())[0].group
        for options in ({}, {"key": tmp_path / "key"}, {"key": tmp_path / "other"})
    )
    assert len({plain, one, other}) == 3
    assert all(PATIENT[1] not in group for group in (plain, one, other))


def test_slices_without_a_patient_are_grouped_by_study_or_series(tmp_path: Path) -> None:
    study = generate_uid(entropy_srcs=["study"])
    for place in range(2):
        dicom(tmp_path / f"a{place}", "one", place, PatientID="", StudyInstanceUID=study)
        dicom(tmp_path / f"b{place}", "two!", place, PatientID="  ", StudyInstanceUID=study)
        dicom(tmp_path / f"c{place}", "three", place, PatientID="")
    a, b, c = ({record.group for record in records(source(tmp_path).shards()) if record.where in where}
        for where in (("file 0", "file 1"), ("file 2", "file 3"), ("file 4", "file 5")))  # fmt: skip
    assert a == b
    assert a != c
    assert len(a) == len(c) == 1
    assert study not in a.pop()


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path / "claims", "one", 1, Rows=60_000, Columns=60_000)
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_, **__: pytest.fail("decoded"))
    assert reasons(source(tmp_path).shards()) == [("file 0", "decompression_bomb")]


def test_deflated_bombs_are_refused_before_they_are_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(tmp_path / "small", "one", 1)
    sound = dcmread(tmp_path / "small")
    sound.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dcmwrite(tmp_path / "small", sound, enforce_file_format=True)
    assert len(records(source(tmp_path).shards())) == 1
    monkeypatch.setattr("mmkd.corpus.dicom.MAX_DEFLATED_BYTES", 1000)
    monkeypatch.setattr("zlib.decompress", lambda *_, **__: pytest.fail("inflated"))
    assert reasons(source(tmp_path).shards()) == [("file 0", "decompression_bomb")]
    with pytest.raises(DataError, match="deflated bytes"):
        dicom_picture((tmp_path / "small").read_bytes(), "a scan")


def test_what_is_no_code_is_not_said() -> None:
    header = {"Modality": "DX", "BodyPartExamined": "Doe, J. 1962", "ViewPosition": "PA"}
    assert spoken(header) == {"modality": "X-ray", "view": "posteroanterior"}
    free = dict.fromkeys(SAID.values(), "DOE JANE") | {"BodyPartExamined": "lspine", "ImageLaterality": "JANE"}
    assert spoken(free) == {"body_part": "lumbar spine"}
    default = DicomSource(kind="dicom", path=Path()).templates
    assert caption_of(spoken(header), default) == "X-ray, posteroanterior view"


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
    monkeypatch.setattr("mmkd.corpus.sources.nifti.MAX_VOXELS", 1000)
    assert ("a/good.nii.gz", "decompression_bomb") in reasons(nifti(tmp_path).shards())
    assert records(nifti(tmp_path, only={"class": ["b"]}).shards()) == []
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
