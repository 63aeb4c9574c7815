"""`mmkd extract` as a process: several ranks, kill -9, two runs at once; every path ends in the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mmkd.distributed import World
from mmkd.executors.local import LocalExecutor
from mmkd.features.extract import extract
from mmkd.teachers.zoo.settings import ExtractSettings, TeacherSpec
from tiny import MACHINE, recipe_of
from worker_deaths import killing

RECIPE = recipe_of("""
[extract]
batch_size = 10
shard_rows = 10
[student]
model = "ViT-B-32"
[evaluate]
cards = ["unused.toml"]
""")


@pytest.fixture
def recipe(tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path) -> Path:
    shutil.copytree(tiny_corpus, tmp_path / "out" / "corpus")
    text = RECIPE
    for spec in tiny_teachers:
        text += f'[[teachers]]\nname = "{spec.name}"\nmodel = "{spec.model}"\nlicence = "MIT"\n'
    (tmp_path / "ranks.toml").write_text(text)
    return tmp_path / "ranks.toml"


def command(recipe: Path, out: Path, ranks: int) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    return [sys.executable, *launcher, "-m", "mmkd", "extract", str(recipe), "--out", str(out)]


def run(recipe: Path, out: Path, ranks: int = 1) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(recipe, out, ranks), capture_output=True, text=True, env=environment)


def shards(out: Path) -> dict[str, bytes]:
    found = sorted((out / "features").glob("*/data-*.arrow"))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def kill_when_there_is(arguments: Sequence[str], out: Path, count: int) -> None:
    """Start the command and kill it, its children included, once so many shards are there."""
    process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list((out / "features").glob("*.partial/data-*.arrow"))) < count:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_two_ranks_go_on_from_one_that_was_killed_to_the_same_bytes(
    recipe: Path, tiny_corpus: Path, tiny_teachers: list[TeacherSpec]
) -> None:
    extract(
        tiny_teachers, ExtractSettings(batch_size=10, shard_rows=10), tiny_corpus, recipe.parent / "features", MACHINE
    )
    out = recipe.parent / "out"
    kill_when_there_is(command(recipe, out, 1), out, 5)
    assert not list((out / "features").glob("*/manifest.json"))
    kept = {path: path.stat().st_mtime_ns for path in (out / "features").glob("*.partial/data-*.arrow")}
    assert 5 <= len(kept) < 24  # 120 rows, 10 a shard, 2 teachers
    together = run(recipe, out, ranks=2)
    assert together.returncode == 0, together.stderr
    assert shards(out) == shards(recipe.parent)
    assert "rank 0 of 2:" in together.stdout
    assert "rank 1 of 2:" in together.stdout
    for path, written in kept.items():
        finished = out / "features" / path.parent.name.removesuffix(".partial") / path.name
        assert finished.stat().st_mtime_ns == written


@pytest.mark.slow
def test_of_two_runs_on_one_folder_one_works(recipe: Path) -> None:
    out = recipe.parent / "out"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen(
            command(recipe, out, 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    for process, (stdout, stderr) in zip(both, said, strict=True):
        assert process.returncode == 0 or "another process is working on" in stderr
        assert process.returncode == 2 or "narrow: 120 rows" in stdout or "complete, skipped" in stdout
    assert 0 in [process.returncode for process in both]
    assert len(shards(out)) == 24


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_are_disjoint_and_complete(size: int) -> None:
    items = list(range(20))
    shares = [World(rank, size).share(items) for rank in range(size)]
    assert sorted(item for share in shares for item in share) == items
    assert shares[0] == items[::size]


@pytest.mark.slow
def test_three_workers_of_which_two_are_killed_make_the_bytes_of_one(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    """A run by two workers, none of whom is killed, is made in `tests/pipeline/test_beside.py`."""
    settings = ExtractSettings(batch_size=10, shard_rows=10)

    def extracted(name: str, workers: int) -> dict[str, bytes]:
        folder = tmp_path / name / "features"
        extract(tiny_teachers, settings, tiny_corpus, folder, MACHINE, executor=LocalExecutor(workers))
        return shards(tmp_path / name)

    whole = extracted("one", 1)
    assert len(whole) == 24
    with killing(tmp_path / "many", 2) as killed:
        assert extracted("many", 3) == whole
    assert len(killed) == 2
    assert not list(tmp_path.rglob(".units"))


@pytest.mark.slow
def test_workers_have_processes_that_decode_images(
    tiny_corpus: Path, tiny_teachers: list[TeacherSpec], tmp_path: Path
) -> None:
    """Workers are spawned. What they start by themselves is not: tokenizers cannot be sent to a spawned process."""
    settings, decoding = ExtractSettings(batch_size=10, shard_rows=30), MACHINE.model_copy(update={"workers": 1})
    for name, machine, workers in (("alone", MACHINE, 1), ("by two", decoding, 2)):
        folder = tmp_path / name / "features"
        extract(tiny_teachers, settings, tiny_corpus, folder, machine, executor=LocalExecutor(workers))
    assert shards(tmp_path / "by two") == shards(tmp_path / "alone") != {}
