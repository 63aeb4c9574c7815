"""Pictures with reports: scans that tables name, and reports that are joined with DICOM and NIfTI by a key."""

import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from corpus_samples import everything, png, reasons, records, run, write_files
from dicom_samples import PATIENT, dicom, source
from PIL import Image
from pydicom.uid import generate_uid

from mmkd.curation.records.record import Record, Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import NiftiSource, TableSource
from mmkd.curation.sources.nifti import NiftiReader
from mmkd.curation.sources.tables import TableReader
from mmkd.errors import ConfigError, DataError

LEVELS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "WindowCenter": 128, "WindowWidth": 256}


def level(path: Path, grey: int, series: str = "one", **more: Any) -> None:
    """A DICOM file of one grey but for a black corner, whose place in its series is its grey."""
    pixels = np.full((32, 32), grey, np.uint8)
    pixels[0, 0] = 0
    dicom(path, series, grey, **LEVELS, **{"PixelData": pixels.tobytes(), **more})


def steps(path: Path, places: int = 7) -> None:
    """A NIfTI volume of 16 x 16 x `places` voxels whose axial slices are of one value each, 0, 10, 20 ..."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values_XYZ = np.broadcast_to(10 * np.arange(places, dtype=np.float32), (16, 16, places))
    nibabel.save(nibabel.Nifti1Image(values_XYZ.copy(), np.eye(4)), path)


def grey(data: bytes) -> int:
    return int(np.asarray(Image.open(io.BytesIO(data)).convert("L"))[-1, -1])


def table(path: Path, *rows: str, **options: Any) -> TableReader:
    path.write_text("\n".join(rows) + "\n")
    settings = {"columns": {"image": "path", "caption": "report"}, **options}
    return TableReader(TableSource.model_validate({"kind": "table", "name": "t", "path": path, **settings}))


def test_a_hospital_s_table_names_files_volumes_and_folders(tmp_path: Path) -> None:
    level(tmp_path / "one.dcm", 200)
    for place in (30, 10, 20):
        level(tmp_path / f"series/IM{90 - place}", place)
    write_files(tmp_path, {"series/notes.txt": b"not a slice", **{f"slices/{n}.png": png(n) for n in (2, 10, 9)}})
    steps(tmp_path / "volume.nii.gz")
    rows = ("path,report", "one.dcm,a", "series,b", "slices,c", "volume.nii.gz,d")
    found = records(table(tmp_path / "reports.csv", *rows, window=(0, 100)).shards())
    assert [record.caption for record in found] == ["a", "b", "c", "d"]
    assert [record.id for record in found] == [f"t_{n:08d}" for n in range(4)]
    assert [grey(found[n].image) for n in (0, 1, 3)] == [200, 20, 128]  # 3 of 0..6: half of 255
    assert found[2].image == png(9)  # 9 lies between 2 and 10, byte for byte
    assert [record.modality for record in found] == ["CT", "CT", "", ""]


def test_every_few_slices_and_frames_of_a_row(tmp_path: Path) -> None:
    for place in (10, 20, 30, 40, 50):
        level(tmp_path / f"series/{place}", place)
    steps(tmp_path / "v.nii")
    reader = table(tmp_path / "r.csv", "path,report", "series,a", "v.nii,b", step=2, window=(0, 100))
    found = records(reader.shards())
    assert [(record.id, record.where) for record in found[:3]] == [
        (f"t_00000000/{n:04d}", f"r.csv:0:{n:04d}") for n in (0, 2, 4)
    ]
    assert [grey(record.image) for record in found] == [10, 30, 50, 42, 128, 212]
    assert [record.id for record in found[3:]] == [f"t_00000001/{n:04d}" for n in (1, 3, 5)]
    frames = np.repeat(np.array([10, 20, 30], np.uint8), 32 * 32)
    level(tmp_path / "cine.dcm", 1, NumberOfFrames=3, PixelData=frames.tobytes())
    few = records(table(tmp_path / "c.csv", "path,report", "cine.dcm,a", frame_step=1).shards())
    assert [(record.id, grey(record.image)) for record in few] == [(f"t_00000000/{n:04d}", 10 * n) for n in (1, 2, 3)]


def test_rows_of_scans_have_the_group_of_their_patient(tmp_path: Path) -> None:
    level(tmp_path / "scans/a.dcm", 10, "one")
    level(tmp_path / "scans/b.dcm", 20, "two")
    level(tmp_path / "scans/c.dcm", 30, "three", PatientID="other")
    rows = ["path,report,group", "scans/a.dcm,x,", "scans/b.dcm,y,", "scans/c.dcm,z,", "scans/a.dcm,v,told"]
    (tmp_path / "key").write_bytes(b"secret")
    a, b, c, told = records(table(tmp_path / "r.csv", *rows, key=tmp_path / "key").shards())
    assert a.group == b.group != c.group
    assert told.group == "told"
    of_source = records(source(tmp_path / "scans", key=tmp_path / "key", name="t").shards())
    assert [record.group for record in of_source] == [a.group, b.group, c.group]
    assert not any(word in repr((a, b)) for word in (*PATIENT, "Doe"))


def test_scans_that_are_not_read_have_a_reason(tmp_path: Path) -> None:
    level(tmp_path / "burnt.dcm", 10, BurnedInAnnotation="YES")
    for series in ("one", "two"):
        level(tmp_path / f"study/{series}", 10, series)
    write_files(
        tmp_path, {"mixed/a.png": png(), "empty/b.txt": b"", "cut.nii": b"no volume", "cut.dcm": bytes(128) + b"DICM"}
    )
    level(tmp_path / "mixed/b", 10)
    names = ["burnt.dcm", "study", "mixed", "empty", "cut.nii", "cut.dcm", "gone.nii.gz", "../up.dcm", "/etc/x.nii"]
    reader = table(tmp_path / "r.csv", "path,report", *(f"{name},text" for name in names))
    assert [reason for _, reason in reasons(reader.shards())] == [
        *("burnt_in_text", "unreadable_row", "unreadable_row", "missing_file", "damaged_file", "damaged_file"),
        *("missing_file", "outside_folder", "outside_folder"),
    ]
    told = {item.where: item.detail for item in everything(reader.shards()) if isinstance(item, Rejected)}
    assert "0 pictures and 2 DICOM files of 2 series" in told["r.csv:1"]
    assert 'root = "/folder"' in told["r.csv:8"]
    kept = records(table(tmp_path / "r.csv", "path,report", "burnt.dcm,text", burnt_in="keep").shards())
    assert [record.labels for record in kept] == [("burnt-in text",)]


def test_absolute_paths_of_scans_are_read_below_root(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    for place in (10, 20, 30):
        level(archive / f"series/{place}", place)
    steps(archive / "v.nii.gz")
    (tmp_path / "project").mkdir()
    rows = ("path,report", f"{archive}/series,a", f"{archive}/v.nii.gz,b")
    found = records(table(tmp_path / "project/r.csv", *rows, root=archive).shards())
    assert [record.caption for record in found] == ["a", "b"]
    assert grey(found[0].image) == 20


REPORT = "TECHNIQUE: CT.\nFINDINGS: {}\nIMPRESSION: {}"


def test_sections_are_chosen_by_heading_or_column_and_the_rest_is_listed(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": png()})
    texts = [REPORT.format("clear", "normal"), "The lungs are clear.", "IMPRESSION: stable"]
    lines = [json.dumps({"path": "a.png", "report": text}) for text in texts]
    options = {"sections": ["findings", "impression"]}
    found = everything(table(tmp_path / "r.jsonl", *lines, **options).shards())
    assert [getattr(item, "caption", "") for item in found] == ["clear\nnormal", "", "stable"]
    assert (found[1].where, found[1].reason) == ("r.jsonl:1", "missing_section")  # type: ignore[union-attr]
    whole = records(table(tmp_path / "r.jsonl", *lines, **options, otherwise="whole").shards())
    assert [(record.caption, record.labels) for record in whole] == [
        ("clear\nnormal", ()),
        ("The lungs are clear.", ("whole report",)),
        ("stable", ()),
    ]
    columns = {"columns": {"image": "path"}, **options}
    rows = ("path,findings,impression", "a.png,clear,", "a.png,,", "a.png,clear,normal")
    by_column = everything(table(tmp_path / "r.csv", *rows, **columns).shards())
    assert [getattr(item, "caption", "") for item in by_column] == ["clear", "", "clear\nnormal"]
    with pytest.raises(ConfigError, match="columns of all sections, too: findings, impression"):
        table(tmp_path / "r.csv", "path,findings", "a.png,clear", **columns).shards()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Three studies of two patients; the second has two series."""
    studies = {"A1": ["one"], "A2": ["two", "three"], "A3": ["four"]}
    for accession, series in studies.items():
        for name in series:
            for place in (10, 20, 30):
                more = {"AccessionNumber": accession, "StudyInstanceUID": generate_uid(entropy_srcs=[accession])}
                patient = "other" if accession == "A3" else PATIENT[1]
                level(tmp_path / f"scans/{name}/{place}", place, name, PatientID=patient, **more)
    return tmp_path / "scans"


def joined(folder: Path, *rows: str, key: str = "AccessionNumber", more: Any = None, **options: Any) -> Any:
    path = folder.parent / "reports.csv"
    path.write_text("\n".join(rows) + "\n")
    return source(folder, **{"step": 3, **options}, reports={"path": path, "key": key, **(more or {})})


def test_studies_are_joined_with_reports_and_every_other_is_counted(archive: Path) -> None:
    rows = ("AccessionNumber,report", "A1,clear", "A2,nodule", "A9,of a study elsewhere", ",without number", "A1,clear")
    found = everything(joined(archive, *rows).shards())
    kept = [item for item in found if isinstance(item, Record)]
    assert [(record.caption, grey(record.image)) for record in kept] == [("clear", 20), ("nodule", 20), ("nodule", 20)]
    assert len({record.group for record in kept}) == 1
    rejected = [(item.where, str(item.reason), item.detail) for item in found if isinstance(item, Rejected)]
    assert rejected == [
        ("file 1", "missing_report", "no report has its AccessionNumber (files of this series: 1)"),
        ("reports.csv:2", "missing_picture", "the source has no picture with this AccessionNumber"),
        ("reports.csv:3", "missing_field", "the report has no AccessionNumber"),
    ]


def test_a_study_without_report_is_listed_once_a_series(archive: Path) -> None:
    reader = joined(archive, "AccessionNumber,report", "A1,clear", "A2,nodule", step=1)
    found = [item.detail for item in everything(reader.shards()) if isinstance(item, Rejected)]
    assert found == ["no report has its AccessionNumber (files of this series: 3)"]


def test_two_reports_with_one_key(archive: Path) -> None:
    rows = ("AccessionNumber,report", "A1,clear", "A1,addendum", "A2,nodule", "A3,x", "A3,")
    for captions, expected in (
        ("one", ["nodule", "nodule", "x"]),
        ("first", ["clear", "nodule", "nodule", "x"]),
        ("all", ["addendum", "clear", "nodule", "nodule", "x"]),
    ):
        found = everything(joined(archive, *rows, more={"captions": captions}).shards())
        kept = [item for item in found if isinstance(item, Record)]
        assert sorted(record.caption for record in kept) == expected  # type: ignore[type-var]
        assert len({record.id for record in kept}) == len(kept)
        told = [item.detail for item in found if isinstance(item, Rejected)]
        assert "its report is empty" in told
        assert any(detail.startswith("2 different reports have this key") for detail in told) == (captions == "one")


@pytest.mark.parametrize("key", ["StudyInstanceUID", "SeriesInstanceUID", "PatientID", "file", "name"])
def test_every_key_finds_its_report(archive: Path, key: str) -> None:
    values = {
        "StudyInstanceUID": generate_uid(entropy_srcs=["A3"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["four"]),
        "PatientID": "other",
        "file": "four",
        "name": "only",
    }
    (archive / "four/20").rename(archive / "four/only")
    reader = joined(
        archive, "ours,text", f"{values[key]},found", key=key, more={"key_column": "ours", "column": "text"}
    )
    assert [(record.caption, grey(record.image)) for record in records(reader.shards())] == [("found", 20)]


def test_names_of_several_files_are_refused(archive: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 names in reports\.csv are those of several files"):
        joined(archive, "name,report", "20,x", key="name").shards()


def test_reports_name_nobody(archive: Path, tmp_path: Path) -> None:
    """Neither keys nor files' names are in anything that is written; what a report says is the caption."""
    (tmp_path / "reports.csv").write_text(f"PatientID,report\n{PATIENT[1]},clear\nMRN999,unknown\nother,\n")
    reports = {"path": tmp_path / "reports.csv", "key": "PatientID"}
    settings = {"kind": "dicom", "name": "d", "path": archive, "reports": reports}
    run(CurateSettings.model_validate({"sources": [settings], "max_rejected": 0.9}), tmp_path / "out")
    funnel = json.loads((tmp_path / "out/funnel.json").read_text())["sources"]["d"]
    assert funnel["rejected"] == {"duplicate_pair": 6, "missing_field": 1, "missing_picture": 1}
    assert funnel["kept"] == 3
    for path in (file for file in (tmp_path / "out").rglob("*") if file.is_file()):
        content = path.read_bytes().replace(str(tmp_path).encode(), b"")
        for told in (*PATIENT, "MRN999", "Doe"):
            assert told.encode() not in content, path


def test_a_changed_report_is_another_source(archive: Path) -> None:
    before = joined(archive, "AccessionNumber,report", "A1,clear")
    stamps = [shard.fingerprint() for shard in before.shards()]
    after = joined(archive, "AccessionNumber,report", "A1,clear", "A2,nodule")
    assert after.fingerprint() not in stamps
    assert all(one != other.fingerprint() for one, other in zip(stamps, after.shards(), strict=True))


def test_settings_of_reports_that_cannot_work_are_refused(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="templates would have no effect"):
        joined(archive, "AccessionNumber,report", templates=["{modality}"])
    with pytest.raises(ConfigError, match=r"the columns 'AccessionNumber' and 'report' .*among id, text"):
        joined(archive, "id,text", "A1,clear").shards()
    with pytest.raises(DataError, match="no such table"):
        source(archive, reports={"path": tmp_path / "gone.csv", "key": "PatientID"}).shards()
    with pytest.raises(ValueError, match="NIfTI has no PatientID"):
        NiftiSource.model_validate({"kind": "nifti", "path": archive, "reports": {"path": "r.csv", "key": "PatientID"}})


def test_volumes_are_joined_by_file_or_name(tmp_path: Path) -> None:
    steps(tmp_path / "ct/deep/train_1.nii.gz")
    steps(tmp_path / "train_2.nii.gz")
    steps(tmp_path / "ct/train_3.nii.gz")
    path = tmp_path / "reports.jsonl"
    rows = [("train_1.nii.gz", "IMPRESSION: one"), ("train_2.nii.gz", "two"), ("train_4.nii.gz", "IMPRESSION: four")]
    path.write_text("".join(json.dumps({"VolumeName": name, "report": text}) + "\n" for name, text in rows))
    reports = {"path": path, "key": "name", "key_column": "VolumeName", "sections": ["impression"]}
    settings = {"kind": "nifti", "name": "n", "path": tmp_path, "step": 7, "reports": reports}
    found = everything(NiftiReader(NiftiSource.model_validate(settings)).shards())
    assert [(item.where, str(getattr(item, "reason", getattr(item, "caption", "")))) for item in found] == [
        ("ct/deep/train_1.nii.gz:3", "one"),
        ("ct/train_3.nii.gz", "missing_report"),
        ("train_2.nii.gz", "missing_section"),
        ("reports.jsonl", "other_file"),
        ("reports.jsonl:2", "missing_picture"),
    ]
    reports = {"path": path, "key": "file", "key_column": "VolumeName"}
    both = NiftiReader(NiftiSource.model_validate({**settings, "reports": reports, "step": 3}))
    assert {(record.where, record.caption) for record in records(both.shards())} == {
        ("train_2.nii.gz:0", "two"),
        ("train_2.nii.gz:3", "two"),
        ("train_2.nii.gz:6", "two"),
    }


def test_links_of_scans_lead_below_root(tmp_path: Path) -> None:
    level(tmp_path / "archive/a.dcm", 10)
    steps(tmp_path / "archive/v.nii")
    for folder, name in (("scans", "a.dcm"), ("volumes/ct", "v.nii")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).symlink_to(tmp_path / "archive" / name)
    nifti = {"kind": "nifti", "name": "n", "path": tmp_path / "volumes", "step": 9}
    for root, kept in (({}, 0), ({"root": tmp_path / "archive"}, 1)):
        for reader in (source(tmp_path / "scans", **root), NiftiReader(NiftiSource.model_validate({**nifti, **root}))):
            found = everything(reader.shards())
            assert len([item for item in found if isinstance(item, Record)]) == kept
            assert all(
                "outside" in item.reason and "root =" in item.detail for item in found if isinstance(item, Rejected)
            )
