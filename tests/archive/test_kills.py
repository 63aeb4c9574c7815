"""kill -9 in the middle of writes: no row is lost, none is there twice, and every reader reads."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from archive_world import DIM, FACTS, ColourModel, write_pictures

from mmkd.archive.archive import Archive
from mmkd.archive.index import Options, index
from mmkd.archive.rows import as_array

pytestmark = pytest.mark.slow
PICTURES, DEATHS = 1500, 25


def vectors(archive: Archive) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for batch in archive.store.scan(("id", "vector")):
        found.update(zip(batch["id"].to_pylist(), as_array(batch["vector"], DIM), strict=True))
    return found


def test_an_archive_outlives_its_writers(tmp_path: Path) -> None:
    source = tmp_path / "pictures"
    write_pictures(source, PICTURES)
    script = [sys.executable, str(Path(__file__).parent / "killed.py")]
    arguments = [str(source), str(tmp_path / "cut"), str(DEATHS), "0"]
    done = subprocess.run([*script, *arguments], capture_output=True, text=True, timeout=300)
    told = json.loads(done.stdout.rpartition("ended ")[2] or "{}")
    assert told, done.stdout + done.stderr
    counts = told["counts"]
    assert told["exit"] == 0
    assert counts == sorted(counts)  # what was there once stays
    assert told["killed"] >= 5
    assert any(0 < count < PICTURES for count in counts)  # some died in the middle
    assert told["last"] == PICTURES
    whole = Archive.create(tmp_path / "whole", FACTS)
    index(source, ColourModel(), whole, Options())
    expected, found = vectors(whole), vectors(Archive.open(tmp_path / "cut"))
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
