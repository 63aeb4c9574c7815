"""Vectors in a file: right values, the same bytes after a kill, and what is told of the rest."""

import csv
import json
import signal
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from corpus_samples import png
from PIL import Image

from deaths import life
from mmkd.errors import ConfigError, DataError
from mmkd.inference import blocks
from mmkd.inference.embed import MADE_FROM, embed, vectors_in
from mmkd.inference.model import open_model

PICTURES = 11
pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "3.jpg").write_bytes(b"no picture")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    return folder


def test_vectors_are_those_of_open_clip(source: Path, model: str, tmp_path: Path) -> None:
    found = embed(source, model, tmp_path / "v.parquet", devices=["cpu"], batch=3)
    assert (found.embedded, found.rejected) == (PICTURES, {"unreadable_image": 1, "other_file": 1})
    assert str(found) == (
        f"{tmp_path}/v.parquet: 13 read, 11 embedded, 2 rejected, 1 of them unreadable_image, 1 of them other_file; "
        f"what was rejected stands in {tmp_path}/v.rejected.csv"
    )
    with (tmp_path / "v.rejected.csv").open() as stream:
        assert {(row["where"], row["reason"]) for row in csv.DictReader(stream)} == {
            ("3.jpg", "unreadable_image"),
            ("notes.pdf", "other_file"),
        }
    table = pq.read_table(tmp_path / "v.parquet")
    assert table["path"].to_pylist() == [f"{number}.png" for number in range(PICTURES)]
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{model}")
    network.eval()
    for row in (0, 7):
        with torch.no_grad():
            pixels = transform(Image.open(source / f"{row}.png").convert("RGB"))[None]
            wanted = network.encode_image(pixels, normalize=True)[0].numpy()
        np.testing.assert_allclose(vectors_in(table)[row], wanted, atol=1e-5)
    facts = json.loads(table.schema.metadata[MADE_FROM])
    assert (facts["model"], facts["digest"]) == (Path(model).name, open_model(model, "cpu").digest)
    assert str(table.schema.field("vector").type) == "fixed_size_list<element: float>[8]"


def test_numpy_has_the_same_vectors_and_ids_beside(source: Path, model: str, tmp_path: Path) -> None:
    opened = open_model(model, "cpu")
    embed(source, opened, tmp_path / "v.npy")
    embed(source, opened, tmp_path / "v.parquet")
    vector_ND = np.load(tmp_path / "v.npy")
    np.testing.assert_array_equal(vector_ND, vectors_in(pq.read_table(tmp_path / "v.parquet")))
    with (tmp_path / "v.ids.csv").open() as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == [f"{number}.png" for number in range(PICTURES)]
    assert json.loads((tmp_path / "v.json").read_text())["digest"] == opened.digest


@pytest.mark.slow
def test_processes_share_the_blocks(source: Path, model: str, tmp_path: Path) -> None:
    embed(source, model, tmp_path / "one.parquet", devices=["cpu"])
    embed(source, model, tmp_path / "two.parquet", devices=["cpu", "cpu"])
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_killed_run_goes_on_and_gives_the_same_bytes(source: Path, model: str, tmp_path: Path) -> None:
    opened, out, parts = open_model(model, "cpu"), tmp_path / "v.parquet", tmp_path / ".v.parquet.parts"
    embed(source, opened, tmp_path / "whole.parquet")
    second = blocks.plan_of(blocks.Task(source, blocks.SourceOptions(), opened, opened.digest))[1].file(parts).name
    assert life(lambda: embed(source, opened, out), ("draft", second)) == -signal.SIGKILL
    assert len(list(parts.glob("*.arrow"))) == 1
    assert not out.exists()
    assert life(lambda: embed(source, opened, out), ("draft", out.name)) == -signal.SIGKILL  # all but the last file
    found = embed(source, opened, out)
    assert found.reused == found.embedded + 1
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not parts.exists()
    before = out.stat().st_mtime_ns
    again = embed(source, opened, out)
    assert (again.embedded, again.rejected, out.stat().st_mtime_ns) == (found.embedded, found.rejected, before)


def test_nothing_is_embedded_twice_and_changes_are_noticed(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_model(model, "cpu")
    task = blocks.Task(source, blocks.SourceOptions(), opened, opened.digest)
    plan = blocks.plan_of(task)
    parts = tmp_path / "parts"
    assert blocks.embed_blocks(task, plan, parts, ["cpu"], 1) == 0
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "_write", lambda *given: pytest.fail("embedded again"))
        assert blocks.embed_blocks(task, plan, parts, ["cpu"], 1) == 12  # one of them cannot be read
    (source / "9.png").write_bytes(png(99) + b" ")
    anew = blocks.plan_of(task)
    assert [one.digest == other.digest for one, other in zip(plan, anew, strict=True)].count(False) == 1
    blocks.embed_blocks(task, anew, parts, ["cpu"], 1)
    assert "1 blocks of an earlier run do not fit" in capsys.readouterr().out
    with pytest.raises(DataError, match="changed while it was read"):
        blocks.embed_blocks(task, plan, parts, ["cpu"], 1)


def test_a_place_that_does_not_do_is_refused(source: Path, model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in .parquet or .npy; for an archive to search in: mmkd index"):
        embed(source, model, tmp_path / "archive")
    with pytest.raises(ConfigError, match="would be read the next time"):
        embed(source, model, source / "v.parquet")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "x.pdf").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no picture in it; 1 rejected, the first x\.pdf"):
        embed(empty, model, tmp_path / "v.parquet", devices=["cpu"])


def test_facts_of_another_model_do_not_outlast_a_kill(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(source, model, tmp_path / "v.npy", devices=["cpu"])
    (source / "0.png").unlink()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmkd.inference.embed.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            embed(source, model, tmp_path / "v.npy", devices=["cpu"])
    assert len(np.load(tmp_path / "v.npy")) == PICTURES - 1
    (source / "0.png").write_bytes(png(0))
    assert embed(source, model, tmp_path / "v.npy", devices=["cpu"]).embedded == PICTURES
    assert len(np.load(tmp_path / "v.npy")) == PICTURES
