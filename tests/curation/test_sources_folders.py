import os
from pathlib import Path

import pytest
from corpus_samples import REALDATA, everything, needs_realdata, png, reasons, records, write_files
from pydantic import ValidationError

from mmkd.curation.records.record import Record, Rejected
from mmkd.curation.settings.sources import FoldersSource
from mmkd.curation.sources import folders
from mmkd.curation.sources.folders import FoldersReader
from mmkd.errors import ConfigError, DataError


def reader(path: Path, **options: object) -> FoldersReader:
    return FoldersReader(FoldersSource.model_validate({"kind": "folders", "name": "f", "path": path, **options}))


def tree(folder: Path) -> Path:
    names = ["b_cell/1.png", "a/deep/2.PNG", "a/1.png", "a/notes.txt", "a/.hidden.png", "loose.png"]
    return write_files(folder, {name: png(i) for i, name in enumerate(names)})


def test_classes_are_first_level_folders_and_templates_take_turns(tmp_path: Path) -> None:
    found = records(reader(tree(tmp_path), names={"a": "class A"}, templates=["a {name}", "{name}!"]).shards())
    assert [(r.id, r.caption) for r in found] == [
        ("f/a/1.png", "a class A"),
        ("f/a/deep/2.PNG", "class A!"),
        ("f/b_cell/1.png", "a b cell"),
    ]
    assert [r.group for r in found] == [r.id for r in found]


def test_parts_do_not_change_the_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = reader(tree(tmp_path), templates=["{name} 0", "{name} 1"])
    whole = records(source.shards())
    monkeypatch.setattr(folders, "ROWS_PER_SHARD", 1)
    assert len(source.shards()) == 3
    assert records(source.shards()) == whole


def test_only_selects_by_class(tmp_path: Path) -> None:
    assert [r.id for r in records(reader(tree(tmp_path), include={"class": ["b_cell"]}).shards())] == ["f/b_cell/1.png"]
    with pytest.raises(ConfigError, match="include selects by class, image, not by colour"):
        reader(tmp_path, include={"colour": ["red"]}).shards()


def test_a_link_out_of_the_folder_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(png())
    folder = tree(tmp_path / "in")
    (folder / "a/z.png").symlink_to(tmp_path / "out.png")
    assert ("a/z.png", "outside_folder") in reasons(reader(folder).shards())


def test_every_file_that_is_no_sample_has_its_reason(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    os.mkfifo(folder / "a/pipe.png")
    write_files(folder, {"b_cell/.ipynb_checkpoints/1.png": png(9), "__MACOSX/a/1.png": png(8), "a/Thumbs.db": b""})
    found = everything(reader(folder).shards())
    assert [item.id for item in found if isinstance(item, Record)] == ["f/a/1.png", "f/a/deep/2.PNG", "f/b_cell/1.png"]
    rejected = {item.where: (item.reason, item.detail) for item in found if isinstance(item, Rejected)}
    assert {where: str(reason) for where, (reason, _) in rejected.items()} == dict.fromkeys(
        ["a/pipe.png", "a/notes.txt", "loose.png"], "other_file"
    )
    assert "a named pipe" in rejected["a/pipe.png"][1]
    assert "ends in none of .jpg" in rejected["a/notes.txt"][1]
    assert "no folder of a class" in rejected["loose.png"][1]


def test_the_fingerprint_follows_names_and_sizes(tmp_path: Path) -> None:
    before = reader(tree(tmp_path)).fingerprint()
    (tmp_path / "a/notes.txt").write_text("changed")
    assert reader(tmp_path).fingerprint() == before
    (tmp_path / "a/1.png").rename(tmp_path / "a/3.png")
    assert reader(tmp_path).fingerprint() != before


def test_folders_without_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        reader(tmp_path / "gone").shards()
    with pytest.raises(DataError, match="no file ending in"):
        reader(tmp_path).shards()
    write_files(tmp_path, {"loose.png": png()})
    with pytest.raises(DataError, match="make one per class"):
        reader(tmp_path).shards()


@pytest.mark.parametrize("templates", [[], ["no place"]])
def test_templates_must_name_the_class(tmp_path: Path, templates: list[str]) -> None:
    with pytest.raises(ValidationError, match="templates"):
        reader(tmp_path, templates=templates)


@needs_realdata
def test_real_classes_are_read() -> None:
    found = records(reader(REALDATA / "classify/oct_retina/val", templates=["OCT of {name}"]).shards())
    assert len(found) == 32
    assert len({record.caption for record in found}) == 4
