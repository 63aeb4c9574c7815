"""`mmkd curate` under torchrun: two processes share the shards and make the bytes of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus_samples import png, run, shard_digests, write_tar

from mmkd.pipeline.recipe import load_recipe

RECIPE = """
name = "ranks"
teachers = ["plip"]
[machine]
workers = 0
[curate]
val = 0.3
sources = [{ kind = "webdataset", name = "w", path = "tars", include = { kind = ["figure"] } }]
[curate.duplicates]
near = "drop"
[student]
model = "ViT-B-32"
[evaluate]
cards = ["unused.toml"]
"""
FIGURE = b'{"kind": "figure"}'
TARS, EACH = 5, 4  # an odd number, so that one process has more to do


def curate_by_two(folder: Path, recipe: Path) -> Path:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", "mmkd", "curate", recipe.name, "--out", "two"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "two/corpus"


@pytest.mark.slow
def test_two_processes_make_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKD_TEACHERS", str(tmp_path))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "tars").mkdir()
    bad = [("bad.png", b"no picture"), ("bad.txt", b"bad"), ("bad.json", FIGURE)]
    for tar in range(TARS):
        members = []
        for place in range(EACH):
            seed = 0 if place == 0 else tar * EACH + place  # the first of each tar repeats across the processes
            members += [(f"{place}.png", png(seed)), (f"{place}.txt", f"finding {tar} {place}".encode())]
            members += [(f"{place}.json", FIGURE)]
        write_tar(
            tmp_path / f"tars/{tar}.tar", [*members, *bad, ("other.png", png(99)), ("other.txt", b"of another kind")]
        )
    one, two = tmp_path / "one", curate_by_two(tmp_path, tmp_path / "recipe.toml")
    recipe = load_recipe(tmp_path / "recipe.toml", one)
    run(recipe.curate, one, seed=recipe.seed)
    assert shard_digests(one) == shard_digests(two)
    assert (one / "rejected.parquet").read_bytes() == (two / "rejected.parquet").read_bytes()
    funnel = json.loads((two / "funnel.json").read_text())
    assert funnel == json.loads((one / "funnel.json").read_text())
    assert funnel["sources"]["w"] == {
        "read": TARS * (EACH + 1),
        "kept": TARS * EACH - (TARS - 1),
        "rejected": {"near_duplicate": TARS - 1, "unreadable_image": TARS},
        "excluded": TARS,
    }
    assert not (two / "shards").exists()
