"""Multi-frame DICOM and NIfTI through `embed`, `label` and `index`: each frame and slice has an id of its own."""

import csv
from pathlib import Path

import lancedb
import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from dicom_samples import dicom
from typer.testing import CliRunner

from mmkd.cli import make_app
from mmkd.export.checksums import write_sums
from mmkd.inference.embed import vectors_in
from tiny import save_tiny

IDS = [f"cine.dcm/{frame:04d}" for frame in (1, 2, 3)] + [f"v.nii/{place:04d}" for place in range(4)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`scans` with a cine of three frames and a volume of four slices, and `model`."""
    folder = tmp_path_factory.mktemp("world")
    write_sums(save_tiny(folder / "model"))
    (folder / "scans").mkdir()
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 4096, (3, 32, 32), np.uint16)
    dicom(folder / "scans/cine.dcm", "c", 4, NumberOfFrames=3, PixelData=frames.tobytes())
    volume = rng.random((6, 7, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / "scans/v.nii")
    return folder


def run(world: Path, name: str, out: Path, *more: str) -> str:
    given = [name, str(world / "scans"), "--model", str(world / "model"), "--out", str(out), *more]
    done = CliRunner().invoke(make_app(), given)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_embed(world: Path, tmp_path: Path) -> None:
    run(world, "embed", tmp_path / "v.parquet", "--devices", "cpu")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table["id"].to_pylist() == IDS
    assert table["slice"].to_pylist() == [1, 2, 3, 0, 1, 2, 3]
    assert len(np.unique(vectors_in(table), axis=0)) == len(IDS)  # each of its own pixels
    assert len(set(table["series"].to_pylist())) == 2
    run(world, "embed", tmp_path / "few.parquet", "--devices", "cpu", "--step", "0")
    assert pq.read_table(tmp_path / "few.parquet")["id"].to_pylist() == ["cine.dcm", "v.nii"]  # the middle ones


def test_label(world: Path, tmp_path: Path) -> None:
    run(world, "label", tmp_path / "l.csv", "--classes", "a,b", "--device", "cpu")
    with (tmp_path / "l.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == IDS
    assert (tmp_path / "l.html").read_text().count('<div class="card l') == len(IDS)


def test_index(world: Path, tmp_path: Path) -> None:
    assert f"{len(IDS)} new" in run(world, "index", tmp_path / "archive", "--device", "cpu")
    table = lancedb.connect(str(tmp_path / "archive")).open_table("pictures").to_arrow()
    assert sorted(table["id"].to_pylist()) == sorted(IDS)
    assert f"0 new, 0 changed, {len(IDS)} as before" in run(world, "index", tmp_path / "archive", "--device", "cpu")
