"""`mmkd embed` into an archive: the rows of `mmkd index`, resumable, and never over another source's."""

from pathlib import Path

import numpy as np
import pytest
from archive_world import ColourModel, write_pictures
from typer.testing import CliRunner

from mmkd.archive import embed as under_test
from mmkd.archive.archive import Archive, add_vectors
from mmkd.archive.index import Options, index
from mmkd.archive.rows import facts_of
from mmkd.cli import app
from mmkd.errors import ConfigError


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ColourModel:
    found = ColourModel()
    monkeypatch.setattr(under_test, "open_model", lambda name, device: found)
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "pictures", 9)
    (tmp_path / "pictures/bad.png").write_bytes(b"no picture")
    return tmp_path / "pictures"


def call(source: Path, out: str) -> str:
    arguments = ["embed", str(source), "--model", "colours", "--out", out, "--workers", "1"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_rows_are_those_of_index(source: Path, model: ColourModel, tmp_path: Path) -> None:
    told = call(source, f"{tmp_path}/archive/")
    assert "9 embedded, 1 rejected" in told
    assert "9 new, 0 changed, 0 as before; 9 in all" in told
    assert (tmp_path / "archive.rejected.csv").read_text().count("unreadable_image") == 1
    assert not list(tmp_path.glob(".*.parquet"))  # the vectors are in the archive alone
    ours, theirs = Archive.open(tmp_path / "archive"), Archive.create(tmp_path / "other", facts_of(model, "colours"))
    index(source, model, theirs, Options(thumbnails=False, workers=1))
    for name in (f"{place:04d}.png" for place in range(9)):
        vector_D, row = ours.row(name)
        np.testing.assert_allclose(vector_D, theirs.row(name)[0], atol=1e-6)
        assert row == theirs.row(name)[1]
    assert "0 new, 0 changed, 9 as before; 9 in all" in call(source, str(tmp_path / "archive"))


def test_a_run_that_was_cut_off_embeds_nothing_twice(
    source: Path, model: ColourModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(under_test, "GROUP_ROWS", 4)
    calls = []

    def fails(*values: object) -> object:
        calls.append(values)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return add_vectors(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(under_test, "add_vectors", fails)
    with pytest.raises(KeyboardInterrupt):
        under_test.embed_into(source, "colours", tmp_path / "archive", workers=1)
    assert (len(Archive.open(tmp_path / "archive")), model.encoded) == (4, 9)
    found = under_test.embed_into(source, "colours", tmp_path / "archive", workers=1)
    assert (found.added.new, found.added.same, found.rows, model.encoded) == (5, 4, 9, 9)


def test_pictures_of_another_source_are_not_replaced(source: Path, model: ColourModel, tmp_path: Path) -> None:
    call(source, f"{tmp_path}/archive")
    write_pictures(tmp_path / "more", 3)
    with pytest.raises(ConfigError, match=r"has a picture '0000\.png' already, of the source '.*pictures/'"):
        call(tmp_path / "more", f"{tmp_path}/archive")
    assert Archive.open(tmp_path / "archive").row("0000.png")[1]["source"] == f"{source}/"


def test_an_archive_has_one_writer(
    source: Path, model: ColourModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"under torchrun give a \.parquet file"):
        call(source, f"{tmp_path}/archive")
