"""Pictures of a source become rows: new ones, changed ones, and what cannot be read is counted."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_world import FACTS, ColourModel, write_pictures
from PIL import Image

from mmkd.archive.archive import Added, Archive
from mmkd.archive.index import SIDE, Options, index, one_picture
from mmkd.errors import ConfigError, DataError
from mmkd.images.decode import decode


def archive_of(tmp_path: Path) -> Archive:
    return Archive.create(tmp_path / "archive", FACTS)


def test_index_adds_replaces_and_counts(tmp_path: Path) -> None:
    model, archive, source = ColourModel(), archive_of(tmp_path), tmp_path / "pictures"
    write_pictures(source / "a", 40)
    Image.new("RGB", (400, 200), "red").save(source / "red.png")
    (source / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (source / "notes.txt").write_text("no picture")
    found = index(source, model, archive, Options())
    assert (found.added, model.encoded) == (Added(new=41), 41)
    assert found.reasons() == {"other_file": 1, "unreadable_image": 1}
    assert index(source, model, archive, Options()).added == Added(same=41)
    assert model.encoded == 41  # nothing is computed again
    write_pictures(source / "a", 1)  # written again
    Image.new("RGB", (8, 8), "blue").save(source / "a/0001.png")
    (source / "a/0002.png").unlink()
    Image.new("RGB", (8, 8), "lime").save(source / "a/9999.png")
    found = index(source, model, archive, Options())
    assert (found.added, found.gone, found.pruned) == (Added(new=1, changed=2, same=38), ["a/0002.png"], 0)
    [hit] = archive.search(model.encode_texts(["blue"])[0], 1)
    assert (hit.id, hit.file, hit.score) == ("a/0001.png", str(source / "a/0001.png"), pytest.approx(1, abs=1e-6))
    assert index(source, model, archive, Options(prune=True)).pruned == 1
    assert "a/0002.png" not in archive.states()


def test_thumbnails_are_small_copies_or_none(tmp_path: Path) -> None:
    model, archive = ColourModel(), archive_of(tmp_path)
    (tmp_path / "p").mkdir()
    Image.new("RGB", (400, 200), "red").save(tmp_path / "p/red.png")
    index(tmp_path / "p", model, archive, Options())
    query_D = model.encode_texts(["red"])[0]
    thumbnail = decode(archive.search(query_D, 1)[0].thumbnail)
    assert thumbnail.size == (SIDE, SIDE // 2)
    assert np.abs(np.asarray(thumbnail, int) - (255, 0, 0)).max() < 4
    assert index(tmp_path / "p", model, archive, Options(thumbnails=False)).added == Added(changed=1)
    assert archive.search(query_D, 1)[0].thumbnail == b""


def test_two_sources_with_the_same_ids_are_told_apart(tmp_path: Path) -> None:
    model, archive = ColourModel(), archive_of(tmp_path)
    write_pictures(tmp_path / "one", 3)
    write_pictures(tmp_path / "two", 3)
    index(tmp_path / "one", model, archive, Options())
    with pytest.raises(ConfigError, match=r"has a picture '0000.png' already, of the source '.*/one/'; give --prefix"):
        index(tmp_path / "two", model, archive, Options())
    assert index(tmp_path / "two", model, archive, Options(prefix="two/")).added == Added(new=3)
    assert len(archive) == 6
    (tmp_path / "one").rename(tmp_path / "three")
    assert index(tmp_path / "three", model, archive, Options(moved=True)).added == Added(changed=3)
    assert {hit.source for hit in archive.search(model.encode_texts(["red"])[0], 9, "id NOT LIKE 'two/%'")} == {
        f"{tmp_path / 'three'}/"
    }


def test_another_model_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "one", 3)
    archive = Archive.create(tmp_path / "archive", replace(FACTS, digest="d" * 64))
    with pytest.raises(ConfigError, match="but this is model colours"):
        index(tmp_path / "one", ColourModel(), archive, Options())


def test_a_query_picture_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(DataError, match="cannot be read as a picture"):
        one_picture(tmp_path / "broken.png")
    with pytest.raises(DataError, match="no such file"):
        one_picture(tmp_path / "none.png")


def test_names_that_are_no_utf8_are_indexed(tmp_path: Path) -> None:
    model, archive, source = ColourModel(), archive_of(tmp_path), tmp_path / "pictures"
    source.mkdir()
    Image.new("RGB", (8, 8), "blue").save(source / "plain.png")
    (source / "plain.png").rename(os.fsdecode(os.fsencode(source) + b"/odd\xff.png"))
    assert index(source, model, archive, Options()).added == Added(new=1)
    assert index(source, model, archive, Options()).added == Added(same=1)
    assert list(archive.states()) == ["odd\\udcff.png"]
