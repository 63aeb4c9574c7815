"""`mmkd index` and `mmkd search --image` read a source as `mmkd embed` does with the same options."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from archive_world import ColourModel, write_pictures
from typer.testing import CliRunner

from mmkd.archive import embed as embed_module
from mmkd.archive.archive import Archive
from mmkd.cli import app
from mmkd.commands.embed import embed
from mmkd.commands.index import index
from mmkd.errors import ConfigError
from mmkd.inference import model as model_module
from mmkd.inference.pictures import SourceOptions

COUNT = 5


@pytest.fixture(autouse=True)
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ColourModel()
    for module in (embed_module, model_module):
        monkeypatch.setattr(module, "open_model", lambda name, device: found)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Pictures that the second column names by absolute paths, with captions in Latin 1."""
    write_pictures(tmp_path / "elsewhere/p1", 3)
    write_pictures(tmp_path / "elsewhere/p2", 2, first=3)
    files = sorted((tmp_path / "elsewhere").rglob("*.png"))
    lines = [f"{number},{file},Röntgen {number}" for number, file in enumerate(files)]
    (tmp_path / "pairs.csv").write_bytes("\n".join(["number,scan,caption", *lines]).encode("latin1"))
    return tmp_path / "pairs.csv"


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def rows(place: Path) -> dict[str, tuple[list[float], dict[str, object]]]:
    archive = Archive.open(place)
    found = {name: archive.row(name) for name in archive.states()}
    return {
        name: (vector_D.round(5).tolist(), {**row, "thumbnail": b""}) for name, (vector_D, row) in sorted(found.items())
    }


def test_a_table_is_read_as_embed_reads_it(table: Path, tmp_path: Path) -> None:
    options = ["--image", "scan", "--root", str(tmp_path / "elsewhere"), "--group", "/(p[0-9]+)/", "--modality", "CR"]
    options += ["--encoding", "latin1", "--workers", "1"]
    for command, place in (("index", tmp_path / "one"), ("embed", tmp_path / "two")):
        call(command, str(table), "--model", "colours", "--out", str(place), *options)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")
    found = [row for _, row in rows(tmp_path / "one").values()]
    assert [row["caption"] for row in found] == [f"Röntgen {number}" for number in range(COUNT)]
    assert [row["patient"] for row in found] == ["p1", "p1", "p1", "p2", "p2"]
    assert {row["modality"] for row in found} == {"x-ray"}


def test_every_step_th_slice_is_a_row(tmp_path: Path) -> None:
    import nibabel

    volume = np.random.default_rng(0).integers(0, 255, (6, 6, 9)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii.gz")  # type: ignore[attr-defined]
    for step, count in (("1", 9), ("4", 3), ("0", 1)):
        call("index", f"{tmp_path}/a.nii.gz", "--model", "colours", "--out", f"{tmp_path}/{step}", "--step", step)
        assert len(Archive.open(tmp_path / step)) == count


def test_index_has_every_option_of_embed_that_says_how_a_source_is_read() -> None:
    of_embed, of_index = (inspect.signature(command).parameters for command in (embed, index))
    read = set(SourceOptions.model_fields) & set(of_embed)
    assert read >= {"image", "root", "group", "step", "modality", "burnt_in", "encoding", "delimiter", "quoting"}
    for name in read:
        assert of_index[name].annotation == of_embed[name].annotation
        assert of_index[name].default == of_embed[name].default


def test_an_option_that_does_not_fit_is_named(table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--burnt-in 'perhaps'"):
        call("index", str(table), "--model", "colours", "--out", f"{tmp_path}/a", "--burnt-in", "perhaps")
    assert not (tmp_path / "a").exists()


def test_the_patient_of_a_query_picture_is_found_by_group(table: Path, tmp_path: Path) -> None:
    place, source = str(tmp_path / "a"), tmp_path / "elsewhere/p1"
    (source / "0000.png").rename(source / "p1-0000.png")
    call("index", str(tmp_path / "elsewhere"), "--model", "colours", "--out", place, "--group", "^(p[0-9]+)/")
    asked = ("search", place, "--image", f"{source}/p1-0000.png", "--not-same-patient", "--group", "^(p[0-9]+)-")
    out = call(*asked, "--model", "colours")
    assert "3 of the same patient left out" in out
    assert "p2/" in out
    assert "p1/" not in out
