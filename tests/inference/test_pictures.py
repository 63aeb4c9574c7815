"""Pictures out of every kind of source: which, in which order, what is known of them, and what is told of the rest."""

import csv
import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_samples import noise, png, write_tar
from dicom_samples import PATIENT, dicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmkd.curation.records.record import Rejected
from mmkd.errors import ConfigError, DataError
from mmkd.images.dicom import dicom_picture
from mmkd.images.nifti import SliceKeys, nifti_slices
from mmkd.inference.pictures import Picture, SourceOptions, pictures, read
from mmkd.reasons import Reason


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def told(source: Path, **options: object) -> tuple[list[Picture], list[Rejected]]:
    found = list(pictures(source, SourceOptions.model_validate(options)))
    return [one for one in found if isinstance(one, Picture)], [one for one in found if isinstance(one, Rejected)]


def pixels(picture: Picture) -> np.ndarray:
    shown = read(picture)
    assert not isinstance(shown, Rejected), shown
    return np.asarray(shown)


def test_a_folder_of_everything(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        put(tmp_path / f"a/{number}.png", png(number))
    put(tmp_path / "a/.hidden.png", png(3))
    put(tmp_path / "__MACOSX/1.png", png(3))
    put(tmp_path / "notes.pdf", b"%PDF")
    put(tmp_path / "labels.csv", b"image,label\na/1.png,x\n")
    put(tmp_path / "b/broken.jpg", b"no picture")
    for place in (3, 1, 2):
        dicom(tmp_path / f"scan/{9 - place}", "s", place)
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).random((6, 7, 3), np.float32), np.eye(4)), tmp_path / "v.nii.gz"
    )
    write_tar(tmp_path / "t.tar", [("x.png", png(4)), ("x.txt", b"a caption"), ("y.txt", b"no picture")])
    found, rejected = told(tmp_path)
    assert [one.path for one in found] == [
        "t.tar:x", "v.nii.gz:0", "v.nii.gz:1", "v.nii.gz:2", "a/1.png", "a/2.png", "a/10.png", "b/broken.jpg",
        "scan/8", "scan/7", "scan/6",
    ]  # fmt: skip
    assert len({one.id for one in found}) == len(found)
    assert {(one.where, one.reason) for one in rejected} == {
        ("labels.csv", Reason.OTHER_FILE), ("notes.pdf", Reason.OTHER_FILE), ("t.tar:y", Reason.OTHER_FILE),
    }  # fmt: skip
    by_path = {one.path: one for one in found}
    np.testing.assert_array_equal(pixels(by_path["a/10.png"]), noise(10))
    assert by_path["t.tar:x"].caption == "a caption"
    unread = read(by_path["b/broken.jpg"])
    assert isinstance(unread, Rejected)
    assert unread.reason == Reason.UNREADABLE_IMAGE
    assert "labels.csv" in next(one.where for one in rejected if "table" in one.detail)


def test_dicom_and_nifti_have_patient_series_and_slice(tmp_path: Path) -> None:
    for place in (2, 1):
        dicom(tmp_path / f"p/{place}.dcm", "one", place)
    dicom(tmp_path / "p/other.dcm", "two", 7)
    found, _ = told(tmp_path)
    assert [one.slice for one in found] == [1, 2, 7]
    assert found[0].series == found[1].series != found[2].series
    assert len({one.group for one in found}) == 1  # one patient
    assert found[0].modality == "ct"
    assert not any(text in str(found) for text in PATIENT)  # digests alone
    np.testing.assert_array_equal(pixels(found[0]), np.asarray(dicom_picture((tmp_path / "p/1.dcm").read_bytes())))
    assert [one.slice for one in told(tmp_path, step=0)[0]] == [2, 7]
    key = put(tmp_path.parent / "key", b"secret")
    assert told(tmp_path, key=key)[0][0].group != found[0].group


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_slices_are_those_of_curation(tmp_path: Path, axis: str) -> None:
    values = np.random.default_rng(0).random((5, 6, 4)).astype(np.float32)
    affine = np.array([[0, 0, 2, 0], [1, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii")
    keys = SliceKeys.model_validate({"axis": axis})
    wanted = list(nifti_slices(str(tmp_path / "v.nii"), keys, 2, ""))
    found, _ = told(tmp_path, axis=axis, step=2)
    assert [one.slice for one in found] == [place for place, _ in wanted]
    for one, (_, picture) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(pixels(one), np.asarray(picture.convert("RGB")))


def test_frames_and_burnt_in_text(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (3, 32, 32), np.uint16)
    dicom(tmp_path / "cine.dcm", "c", 4, NumberOfFrames=3, PixelData=values.tobytes())
    dicom(tmp_path / "text.dcm", "t", 1, BurnedInAnnotation="YES")
    found, rejected = told(tmp_path)
    assert [(one.id, one.slice) for one in found] == [(f"cine.dcm/{n:04d}", n) for n in (1, 2, 3)]
    assert len({pixels(one).tobytes() for one in found}) == 3
    assert [one.noted for one in found] == [("header silent on burnt-in text",), (), ()]
    assert [one.reason for one in rejected] == [Reason.BURNT_IN_TEXT]
    assert len(told(tmp_path, burnt_in="keep")[0]) == 4
    middle = told(tmp_path, step=0)[0][0]
    np.testing.assert_array_equal(pixels(middle), pixels(found[1]))


def test_tables_of_paths(tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"images/{number}.png", png(number))
    dicom(tmp_path / "scan/1.dcm", "s", 1)
    rows = [["study", "file_name", "patient_id", "report"], ["a", "0", "p0", "clear lungs and heart"]]
    rows += [["b", "2", "p1", "a small nodule"], ["c", "7", "p2", "gone with the wind"]]
    table = tmp_path / "pairs.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    found, rejected = told(table)
    assert [(one.id, one.path, one.group, one.caption) for one in found] == [
        ("0", "images/0.png", "p0", "clear lungs and heart"),
        ("2", "images/2.png", "p1", "a small nodule"),
    ]
    np.testing.assert_array_equal(pixels(found[1]), noise(2))
    assert [(one.id, one.reason) for one in rejected] == [("7", Reason.MISSING_FILE)]
    with pytest.raises(ConfigError, match="--image pictures: no such column among study, file_name"):
        told(table, image="pictures")
    put(table, b"scan\nscan/1.dcm\nscan\n../x.png\n")
    found, rejected = told(table)
    assert [one.slice for one in found] == [1, 1]  # a file, and the folder's middle slice
    assert rejected[0].reason == Reason.OUTSIDE_FOLDER
    assert "--root" in rejected[0].detail


def test_tables_of_bytes_and_repeated_ids(tmp_path: Path) -> None:
    images = [{"bytes": png(0), "path": None}, {"bytes": png(1), "path": None}, {"bytes": b"", "path": None}]
    pq.write_table(pa.table({"id": ["x", "x", "y"], "image": images}), tmp_path / "t.parquet")
    for source in (tmp_path, tmp_path / "t.parquet"):
        found, rejected = told(source)
        assert [one.id for one in found] == ["x", "x#2"]
        assert [one.path for one in found] == ["t.parquet:0", "t.parquet:1"]
        np.testing.assert_array_equal(pixels(found[1]), noise(1))
        assert [one.reason for one in rejected] == [Reason.MISSING_FIELD]


def test_a_corpus_and_its_run(tiny_corpus: Path) -> None:
    from datasets import load_from_disk

    rows = load_from_disk(str(tiny_corpus))
    found, rejected = told(tiny_corpus)
    assert not rejected
    assert [one.id for one in found] == rows["id"]
    assert [one.caption for one in found] == rows["caption"]
    assert [one.group for one in found] == rows["group"]
    assert [one.modality for one in found] == rows["modality"]
    np.testing.assert_array_equal(pixels(found[5]), np.asarray(rows[5]["image"].convert("RGB")))
    assert [one.id for one in told(tiny_corpus.parent)[0]] == rows["id"]


def test_npz_in_the_layout_of_medmnist(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
    colour = np.stack([noise(n) for n in range(2)])
    np.savez(tmp_path / "m.npz", train_images=grey, train_labels=np.zeros((4, 1), np.uint8), val_images=colour)
    found, _ = told(tmp_path / "m.npz")
    assert [one.id for one in found] == [f"m.npz:train_images[{n}]" for n in range(4)] + [
        f"m.npz:val_images[{n}]" for n in range(2)
    ]
    np.testing.assert_array_equal(pixels(found[2])[..., 1], grey[2])
    np.testing.assert_array_equal(pixels(found[5]), colour[1])
    np.savez(tmp_path / "n.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="no array of pictures among x"):
        told(tmp_path / "n.npz")


def test_json_of_a_tar_and_where_it_is_cut(tmp_path: Path) -> None:
    meta = json.dumps({"caption": "a mass", "modality": "ct", "article_accession_id": "PMC1"}).encode()
    tar = write_tar(tmp_path / "t.tar", [("a.jpg", png(1)), ("a.json", meta), ("b.png", png(2)), ("c.png", png(3))])
    found, _ = told(tar)
    assert [(one.id, one.caption, one.modality, one.group) for one in found[:2]] == [
        ("t.tar:a", "a mass", "ct", "PMC1"),
        ("t.tar:b", "", "", ""),
    ]
    whole = tar.read_bytes()
    tar.write_bytes(whole[: whole.index(b"c.png") + 600])
    found, rejected = told(tmp_path)
    assert [one.id for one in found] == ["t.tar:a"]
    assert [(one.where, one.reason) for one in rejected] == [("t.tar", Reason.DAMAGED_FILE)]


def test_pipes_and_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.png", png(0))
    folder = put(tmp_path / "f/a.png", png(1)).parent
    os.mkfifo(folder / "p.png")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "v.nii")
    os.mkfifo(folder / "t.tar")
    (folder / "z.png").symlink_to(outside)
    found, rejected = told(folder)
    reasons = {one.path: one for one in found}
    assert {one.where: one.reason for one in rejected} == dict.fromkeys(("pipe", "v.nii", "t.tar"), Reason.OTHER_FILE)
    assert read(reasons["p.png"]).reason == Reason.OTHER_FILE
    assert read(reasons["z.png"]).reason == Reason.OUTSIDE_FOLDER
    assert read(told(folder, root=tmp_path)[0][-1]).size == (32, 32)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "no such file"), ("empty", "no file found"), ("pipe", "named pipe"), ("t.csv", "--image COLUMN")],
)
def test_what_is_no_source_says_so(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "t.csv", b"a,b\n1,2\n")
    with pytest.raises((ConfigError, DataError), match=message):
        told(tmp_path / name)


def test_stamps_change_with_pictures(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", png(0))
    before = told(tmp_path)[0][0]
    assert told(tmp_path)[0][0].stamp == before.stamp
    put(path, png(1) + b"more")
    assert told(tmp_path)[0][0].stamp != before.stamp


def test_patients_in_names_are_found(tmp_path: Path) -> None:
    put(tmp_path / "pat-7_a.png", png(0))
    assert told(tmp_path, group="^(pat-[0-9]+)")[0][0].group == "pat-7"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.from_regex(r"[a-c0-9]{1,3}(/[a-c0-9]{1,2})?", fullmatch=True), min_size=1, max_size=8, unique=True),
    st.binary(max_size=200),
)
def test_every_file_is_told_once(tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    for number, name in enumerate(names):
        put(folder / f"d{name}" / f"{number}.png", png(0))
        put(folder / f"d{name}" / f"{number}.any", data)
    found, rejected = told(folder)
    assert sorted(one.path for one in found) == sorted(f"d{name}/{n}.png" for n, name in enumerate(names))
    assert sorted(one.where for one in rejected) == sorted(f"d{name}/{n}.any" for n, name in enumerate(names))
    again, _ = told(folder)
    assert [one.id for one in again] == [one.id for one in found]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("CR", "x-ray"), ("DX", "x-ray"), ("MR", "mri"), ("OCT", "oct"), ("ct", "ct"), ("XC", "XC"), ("", "")],
)
def test_modalities_have_one_name_in_all_sources(stated: str, expected: str) -> None:
    assert Picture("a", "a", lambda: Image.new("RGB", (1, 1)), modality=stated).modality == expected


def test_the_patient_s_column_is_found_whatever_parts_its_words(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png(1))
    for name in ("Patient-ID", "patient id", "PATIENT_ID"):
        (tmp_path / "rows.csv").write_text(f"image,{name}\na.png,P1\n")
        assert [one.group for one in told(tmp_path / "rows.csv")[0]] == ["P1"]


def test_ids_differ_also_where_a_numbered_one_is_there_already(tmp_path: Path) -> None:
    put(tmp_path / "x.png", png(1))
    ids = ["a", "a#2", "a", "a", "a#2", "a#2#2", "a"]
    lines = "".join(f"{one},x.png\n" for one in ids)
    put(tmp_path / "t.csv", f"id,image\n{lines}".encode())
    found = [one.id for one in told(tmp_path / "t.csv")[0]]
    assert len(set(found)) == len(ids)
    assert found[:3] == ["a", "a#2", "a#3"]


def test_names_that_are_no_utf8_are_told_in_characters(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"bad\xff.png", "\u00fc \u4e2d.png".encode(), b"broken\xfe.png"):
        with open(os.path.join(folder, name), "wb") as stream:
            stream.write(b"no picture" if name.startswith(b"broken") else png(1))
    found, _ = told(tmp_path)
    assert {one.id for one in found} == {"bad\\udcff.png", "\u00fc \u4e2d.png", "broken\\udcfe.png"}
    assert all(pixels(one).size for one in found if not one.id.startswith("broken"))
    [rejected] = [shown for one in found if isinstance(shown := read(one), Rejected)]
    assert f"{rejected.where}{rejected.detail}{rejected.id}".encode()
