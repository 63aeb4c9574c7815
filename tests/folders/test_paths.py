"""Files that a table names in another spelling than the disk has."""

from pathlib import Path
from unicodedata import normalize

import pytest

from mmkd.folders.paths import path_inside, read_inside
from mmkd.reasons import BadRecordError, Reason

NAME = "Röntgen Ä/é.png"


@pytest.mark.parametrize(("on_disk", "named"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFC", "NFC")])
def test_a_name_in_another_normal_form_is_found(tmp_path: Path, on_disk: str, named: str) -> None:
    path = tmp_path / normalize(on_disk, NAME)  # type: ignore[arg-type]
    path.parent.mkdir()
    path.write_bytes(b"here")
    asked = normalize(named, NAME)  # type: ignore[arg-type]
    assert read_inside(tmp_path, asked) == b"here"
    assert path_inside(tmp_path, asked.replace("/", "\\")) == str(path)


def detail_of(folder: Path, name: str) -> str:
    with pytest.raises(BadRecordError) as caught:
        read_inside(folder, name)
    assert caught.value.reason == Reason.MISSING_FILE
    return caught.value.detail


def test_of_a_file_in_other_capitals_the_spelling_on_disk_is_named(tmp_path: Path) -> None:
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images/A.JPG").write_bytes(b"x")
    assert (
        detail_of(tmp_path, "images/a.jpg")
        == "images/a.jpg: no such file below the source's folder; there is 'Images/A.JPG'"
    )
    assert detail_of(tmp_path, "images/b.jpg") == "images/b.jpg: no such file below the source's folder"
    assert detail_of(tmp_path, "gone.jpg") == "gone.jpg: no such file below the source's folder"


def test_a_path_with_a_drive_names_the_cure(tmp_path: Path) -> None:
    assert "C:\\Daten\\a.jpg: a path on a Windows computer" in detail_of(tmp_path, "C:\\Daten\\a.jpg")
    assert 'images = "/folder/{}"' in detail_of(tmp_path, "D:/Daten/a.jpg")


def test_a_file_that_came_later_is_found(tmp_path: Path) -> None:
    asked = normalize("NFC", "ä.png")
    detail_of(tmp_path, asked)
    (tmp_path / normalize("NFD", "ä.png")).write_bytes(b"later")
    assert read_inside(tmp_path, asked) == b"later"
