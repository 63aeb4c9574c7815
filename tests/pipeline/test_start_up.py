"""What a command imports: nothing heavy before it is needed, and nothing at all to find a run finished."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ablation_files import write_files

from mmkd.commands.options import open_run
from mmkd.folders import digests
from mmkd.folders.stage import status
from mmkd.pipeline.table import STAGES
from mmkd.pipeline.work import work_all
from mmkd.student.build import build_student
from mmkd.student.settings import StudentSettings
from mmkd.teachers import load
from mmkd.teachers.files.open_clip_folder import WEIGHTS, save
from tiny import tiny_config

HEAVY = {"torch", "open_clip", "transformers", "datasets", "plotly", "sklearn", "scipy"}


class Counts:
    """How often the files of the recipe's own teacher were hashed, and how often it was loaded."""

    def __init__(self) -> None:
        self.hashed = self.loaded = 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counts]:
    """A finished run of a recipe with a teacher that it does not train, and what its weights have been through."""
    folder = tmp_path_factory.mktemp("finished")
    write_files(folder)
    save(build_student(StudentSettings(config=tiny_config()), 0), folder / "given")
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text() + '[[teachers]]\nname = "given"\nmodel = "local-dir:given"\n')
    counts = Counts()
    with pytest.MonkeyPatch.context() as patch:
        count_hashes(patch, counts)
        count_loads(patch, counts)
        work_all(open_run(recipe, folder / "run", []))
    return recipe, counts


def count_hashes(patch: pytest.MonkeyPatch, counts: Counts) -> None:
    hashed = digests.file_digest

    def counting(path: Path) -> str:
        counts.hashed += path.name == WEIGHTS and path.parent.name == "given"
        return hashed(path)

    patch.setattr(digests, "file_digest", counting)


def count_loads(patch: pytest.MonkeyPatch, counts: Counts) -> None:
    opened = load.LIBRARIES["open_clip"]

    def counting(spec: Any) -> Any:
        counts.loaded += spec.name == "given"
        return opened(spec)

    patch.setitem(load.LIBRARIES, "open_clip", counting)


def test_weights_are_hashed_once_and_loaded_twice(finished: tuple[Path, Counts]) -> None:
    _, counts = finished
    assert (counts.hashed, counts.loaded) == (1, 2)


def imported(*arguments: Any) -> set[str]:
    command = [sys.executable, "-X", "importtime", "-m", "mmkd", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {line.split("|")[-1].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize("arguments", ["--help", "datasets list", "teachers list"])
def test_commands_that_only_show_import_nothing_heavy(arguments: str) -> None:
    assert not imported(*arguments.split()) & HEAVY


def test_a_finished_run_imports_nothing_heavy(finished: tuple[Path, Counts]) -> None:
    recipe, _ = finished
    out = recipe.parent / "run"
    run = open_run(recipe, out, [])
    assert all(status(path) == "complete" for spec in STAGES.values() for path in spec.paths(run))
    assert not imported("runs", out) & HEAVY
    assert not imported("run", recipe, "--out", out) & HEAVY
