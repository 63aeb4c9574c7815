"""What a command imports: nothing heavy before it is needed, and nothing at all to find a run finished."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmkd.commands.options import open_run
from mmkd.folders.stage import status
from mmkd.pipeline.table import STAGES

HEAVY = {"torch", "open_clip", "transformers", "datasets", "plotly", "sklearn", "scipy"}


def test_weights_are_hashed_once_and_loaded_twice(finished_run: tuple[Path, Any]) -> None:
    _, counts = finished_run
    assert (counts.hashed, counts.loaded) == (1, 2)


def imported(*arguments: Any) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "mmkd", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {line.split("|")[-1].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("arguments", ["--help", "datasets list", "teachers list"])
def test_commands_that_only_show_import_nothing_heavy(arguments: str) -> None:
    assert not imported(*arguments.split()) & HEAVY


def test_a_finished_run_imports_nothing_heavy(finished_run: tuple[Path, Any]) -> None:
    recipe, _ = finished_run
    out = recipe.parent / "run"
    run = open_run(recipe, out, [])
    assert all(status(path) == "complete" for spec in STAGES.values() for path in spec.paths(run))
    assert not imported("runs", out) & HEAVY
    assert not imported("run", recipe, "--out", out) & HEAVY
