"""Pictures of an evaluation set: what systems and programs left in its folders is none."""

from pathlib import Path

from corpus_samples import png, write_files

from mmkd.cards.readers.folders import pictures_below

LEFT_BEHIND = (
    ".ipynb_checkpoints/p0-checkpoint.png",
    "__MACOSX/._p0.png",
    "deep/.hidden/p1.png",
    "._p0.png",
    "Thumbs.db",
    "desktop.ini",
    "@eaDir/p0.png",
)


def test_foreign_files_and_folders_hold_no_pictures(tmp_path: Path) -> None:
    write_files(tmp_path, {name: png() for name in ("p0.png", "deep/p1.PNG", "deep/p2.dcm", *LEFT_BEHIND)})
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    found = [path.relative_to(tmp_path).as_posix() for path in pictures_below(tmp_path, [])]
    assert found == ["deep/p1.PNG", "deep/p2.dcm", "p0.png"]
    assert pictures_below(tmp_path, ["p0*"]) == [tmp_path / "deep/p1.PNG", tmp_path / "deep/p2.dcm"]
