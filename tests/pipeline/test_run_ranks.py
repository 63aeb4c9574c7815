"""`mmkd run` in two processes of torchrun: one process group from the first stage to the last."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ablation_files import write_files
from safetensors.torch import load_file

from mmkd.folders.stage import digest_of, read_manifest
from mmkd.pipeline.table import STAGES

EXACT = ("world", "specialists/one", "specialists/two", "corpus", "features/one", "features/two", "reliability")
WEIGHTS = "open_clip_model.safetensors"


def mmkd(ranks: int, *arguments: Any) -> subprocess.CompletedProcess[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", "mmkd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_a_whole_run_in_two_processes(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    done = mmkd(2, "run", recipe, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [done.stdout.count(f"{name} took") for name in STAGES if name != "evidence"] == [1] * (len(STAGES) - 1)
    assert done.stdout.count("report:  ") == 1
    folders = recipe.parent / "run", tmp_path
    for name in EXACT:
        assert len({digest_of(folder / name) for folder in folders}) == 1, name
    for name in ("pretrain", "distill"):  # sums over two processes round otherwise
        one, two = (load_file(folder / name / WEIGHTS) for folder in folders)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_stage_whose_processes_the_command_starts(finished_run: tuple[Path, Any], tmp_path: Path) -> None:
    recipe, _ = finished_run
    for name in ("world", "corpus"):
        shutil.copytree(recipe.parent / "run" / name, tmp_path / name)
    done = mmkd(1, "pretrain", recipe, "--out", tmp_path, "--gpus", 2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes train together" in done.stdout
    assert sorted(path.name for path in (tmp_path / "logs" / "pretrain").iterdir()) == [
        "process-0.log",
        "process-1.log",
    ]
    alone, two = (folder / "pretrain" for folder in (recipe.parent / "run", tmp_path))
    assert read_manifest(two)["settings"] == read_manifest(alone)["settings"]
    for key, value in load_file(alone / WEIGHTS).items():
        torch.testing.assert_close(load_file(two / WEIGHTS)[key], value, atol=1e-4, rtol=1e-4)
    again = mmkd(1, "pretrain", recipe, "--out", tmp_path, "--gpus", 2)
    assert "is complete, skipped" in again.stdout
    assert "train together" not in again.stdout


@pytest.mark.slow
def test_a_failure_of_rank_0_ends_all_with_its_message(tmp_path: Path) -> None:
    write_files(tmp_path)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe.read_text() + '[[teachers]]\nname = "gone"\nmodel = "local-dir:nowhere"\n')
    done = mmkd(2, "run", recipe, "--out", tmp_path / "run")
    assert done.returncode == 1  # torchrun's
    assert done.stderr.count("no folder") == 1
    assert 'File "' not in done.stderr.partition("torch/distributed")[0]  # no traceback of ours
