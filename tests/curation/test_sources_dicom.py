"""DICOM series as a source: which slices, what is listed, and that nobody is named."""

import json
import os
from pathlib import Path

import pytest
from corpus_samples import everything, reasons, records, run, write_files
from dicom_samples import PATIENT, dicom, source
from pydicom.datadict import DicomDictionary
from pydicom.uid import generate_uid

from mmkd.curation.records.record import Record, Rejected
from mmkd.curation.settings.curate import CurateSettings
from mmkd.curation.settings.sources import DicomSource
from mmkd.curation.sources.dicom_series import CAPTION_FIELDS, KEPT_BURNT_IN, SILENT, caption_fields, caption_of
from mmkd.report.curation import write_ledger


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


def test_every_few_slices_of_a_series_from_its_middle(archive: Path) -> None:
    whole = records(source(archive, include={"body_part": ["chest"]}).shards())
    assert len(whole) == 7
    assert [record.where for record in whole] == [f"file {6 - place}" for place in range(7)]
    few = records(source(archive, step=3).shards())
    assert [record.id for record in few] == [whole[place].id for place in (0, 3, 6)]
    assert {record.caption for record in whole} == {"CT of the chest"}
    assert {record.modality for record in whole} == {"CT"}
    assert len({record.group for record in whole}) == 1
    assert records(source(archive, include={"modality": ["MRI"]}).shards()) == []


def test_burnt_in_text_is_dropped_or_told(archive: Path) -> None:
    assert ("file 7", "burnt_in_text") not in reasons(source(archive, burnt_in="keep").shards())
    assert [reason for _, reason in reasons(source(archive).shards())].count("burnt_in_text") == 1
    kept = [record for record in records(source(archive, burnt_in="keep").shards()) if record.labels]
    assert [record.labels for record in kept] == [("burnt-in text",)]


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("kind", ["dicom", "table"])
def test_headers_that_are_silent_on_burnt_in_text_are_counted(tmp_path: Path, kind: str, cache: bool) -> None:
    for place, more in enumerate([{"BurnedInAnnotation": "YES"}, {"BurnedInAnnotation": "NO"}, {}]):
        dicom(tmp_path / f"scans/{place}.dcm", "one", place, **more)
    rows = b"".join(b"scans/%d.dcm,slice %d of a chest\n" % (n, n) for n in range(3))
    write_files(tmp_path, {"scans.csv": b"image,caption\n" + rows})
    path = tmp_path / ("scans" if kind == "dicom" else "scans.csv")
    for burnt_in, noted, kept, rejected in (
        ("drop", {SILENT: 1}, 2, {"burnt_in_text": 1}),
        ("keep", {SILENT: 1, KEPT_BURNT_IN: 1}, 3, {}),
    ):
        given = {"kind": kind, "name": "d", "path": path, "burnt_in": burnt_in}
        settings = CurateSettings.model_validate({"sources": [given], "cache_shards": cache})
        run(settings, out := tmp_path / burnt_in)
        found = json.loads((out / "funnel.json").read_text())["sources"]["d"]
        assert (found["noted"], found["kept"], found["rejected"]) == (noted, kept, rejected)
        assert found["read"] == 3
        write_ledger(out, "three")
        page = (out / "curation.html").read_text()
        assert [what in page for what in (SILENT, KEPT_BURNT_IN)] == [True, burnt_in == "keep"]


def test_damaged_files_are_listed(archive: Path) -> None:
    found = [reason for _, reason in reasons(source(archive).shards())]
    assert sorted(found) == ["burnt_in_text", "damaged_file", "other_file", "unreadable_image"]


def test_files_without_instance_or_without_preamble_are_read(tmp_path: Path) -> None:
    """As de-identified exports and older scanners write them."""
    for place, more in enumerate([{}, {"SOPInstanceUID": ""}, {"SOPInstanceUID": ""}]):
        dicom(tmp_path / f"whole/{place}", "one", place, **more)
    (tmp_path / "bare").mkdir()
    for place in range(3):
        (tmp_path / f"bare/{place}").write_bytes((tmp_path / f"whole/{place}").read_bytes()[132:])
    (tmp_path / "bare/text").write_bytes(b"of a patient " * 20)
    os.mkfifo(tmp_path / "bare/pipe")
    os.symlink("/dev/zero", tmp_path / "bare/zero")
    found = {name: everything(source(tmp_path / name).shards()) for name in ("whole", "bare")}
    whole, bare = ([item for item in found[name] if isinstance(item, Record)] for name in ("whole", "bare"))
    assert len({record.id for record in whole}) == len(whole) == 3
    assert [record.image for record in bare] == [record.image for record in whole]
    rejected = {item.where: (str(item.reason), item.detail) for item in found["bare"] if isinstance(item, Rejected)}
    assert [reason for reason, _ in rejected.values()] == ["other_file"] * 3
    assert sorted(detail.partition(",")[0] for _, detail in rejected.values()) == [
        "a device",
        "a named pipe",
        "it does not begin as a DICOM file does",
    ]


def test_no_byte_of_the_corpus_names_the_patient(archive: Path, tmp_path: Path) -> None:
    settings = CurateSettings.model_validate(
        {"sources": [{"kind": "dicom", "name": "d", "path": archive, "burnt_in": "keep"}], "max_rejected": 0.9}
    )
    run(settings, tmp_path / "out")
    for path in (file for file in (tmp_path / "out").rglob("*") if file.is_file()):
        content = path.read_bytes().replace(str(tmp_path).encode(), b"")
        for told in (*PATIENT, "Doe", "Jane"):
            assert told.encode() not in content, path


def test_nothing_of_any_text_field_is_passed_on(tmp_path: Path) -> None:
    """A marker stands in all fields of free text that DICOM knows, and in those whose codes are said."""
    marker, kinds = "JANEDOE", ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
    text = {field[4] for tag, field in DicomDictionary.items() if field[0] in kinds and tag >> 16 > 2}
    free = dict.fromkeys(sorted(text - {""}), marker)
    assert {"ImageComments", "SeriesDescription", "PatientID", "OperatorsName", "ProtocolName"} < set(free)
    coded = dict.fromkeys(["BodyPartExamined", "ViewPosition", "ImageLaterality"], marker)
    dicom(tmp_path / "a", "one", 1, **free, **coded)
    dicom(tmp_path / "b", "two!", 2, **free, **coded, Modality=marker)
    dicom(tmp_path / "c", "three", 3, **free, **coded, PixelData=b"cut")
    dicom(tmp_path / "d", "four", 4, **free, **coded, Rows=60_000, Columns=60_000)
    found = everything(source(tmp_path, frame_step=1).shards())
    assert [getattr(item, "reason", "kept") for item in found] == [
        "kept",
        "empty_caption",
        "unreadable_image",
        "decompression_bomb",
    ]
    for item in found:
        assert marker not in repr(item).upper()
        assert marker.encode() not in getattr(item, "image", b"")


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


def test_what_is_no_code_is_not_said() -> None:
    header = {"Modality": "DX", "BodyPartExamined": "Doe, J. 1962", "ViewPosition": "PA"}
    assert caption_fields(header) == {"modality": "X-ray", "view": "posteroanterior"}
    free = dict.fromkeys(CAPTION_FIELDS.values(), "DOE JANE") | {
        "BodyPartExamined": "lspine",
        "ImageLaterality": "JANE",
    }
    assert caption_fields(free) == {"body_part": "lumbar spine"}
    default = DicomSource(kind="dicom", path=Path()).templates
    assert caption_of(caption_fields(header), default) == "X-ray, posteroanterior view"
