"""Whole runs of a tiny ablation: what is equal is made once, a killed run ends as if it had not been killed."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ablation_files import write_files

from mmkd.ablate import schedule as job_module
from mmkd.ablate.schedule import Job, gathered, jobs_of, rows_of, run_all, work
from mmkd.ablate.settings import load_ablation
from mmkd.ablate.summary import ACCURACY, RESULTS, SECONDS, read_results, summarise
from mmkd.commands.options import open_run
from mmkd.errors import ConfigError, StaleError, TrainingError
from mmkd.executors.local import LocalExecutor
from mmkd.folders.stage import digest_of
from mmkd.pipeline.table import STAGES
from seen_world import RECIPE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished ablation of one seed: `out`, its `pool`, and its file."""
    folder = tmp_path_factory.mktemp("ablation")
    ablation = load_ablation(write_files(folder))
    run_all(jobs_of(ablation, folder / "out", folder / "pool", seeds=[0]), folder / "out")
    return folder


def target(home: Path, variant: str, name: str) -> str:
    return os.path.realpath(home / "out" / variant / "seed-0" / name)


@pytest.mark.parametrize(
    ("name", "shared", "own"),
    [
        ("world", ["contrastive", "alone"], ["right"]),
        ("specialists/one", ["contrastive", "right", "alone"], []),
        ("corpus", ["contrastive", "alone"], ["right"]),
        ("features/one", ["contrastive", "alone"], ["right"]),
        ("reliability", ["contrastive"], ["right", "alone"]),
        ("pretrain", ["contrastive", "alone"], ["right"]),
        ("distill", [], ["contrastive", "right", "alone"]),
    ],
)
def test_what_is_equal_is_made_once(home: Path, name: str, shared: list[str], own: list[str]) -> None:
    made = target(home, "default", name)
    assert made.startswith(str((home / "pool").resolve()))
    assert {target(home, variant, name) for variant in shared} <= {made}
    others = {target(home, variant, name) for variant in own}
    assert made not in others
    assert len(others) == len(own)


def test_every_student_is_measured_and_the_defaults_teachers(home: Path) -> None:
    rows = read_results(home / "out" / RESULTS)
    models = {(row.variant, row.model) for row in rows if row.metric == ACCURACY}
    variants = ("default", "contrastive", "right", "alone")
    expected = {(name, model) for name in variants for model in ("student", "stage1")}
    assert models == expected | {("default", "one"), ("default", "two")}
    assert all(row.n == 4 and 0 <= row.value <= 1 for row in rows if row.metric == ACCURACY)
    assert [row.n for row in rows if row.metric == SECONDS] == [2] * 4  # steps
    assert [line.variant for line in summarise(load_ablation(home / "ablation.toml"), rows)] == list(variants)


def test_running_again_makes_nothing_and_changes_nothing(home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "pool").rglob("*.safetensors")}
    rows = gathered(home / "out")
    jobs = jobs_of(load_ablation(home / "ablation.toml"), home / "out", home / "pool", ["contrastive"], [0])
    run_all(jobs, home / "out")
    assert {path: path.stat().st_mtime_ns for path in (home / "pool").rglob("*.safetensors")} == before
    assert gathered(home / "out") == rows


@pytest.mark.slow
def test_a_run_killed_half_way_ends_with_the_same_bits(home: Path, tmp_path: Path) -> None:
    (job,) = jobs_of(load_ablation(home / "ablation.toml"), tmp_path / "out", tmp_path / "pool", ["default"], [0])
    child = multiprocessing.get_context("spawn").Process(target=work, args=(job,))
    child.start()
    wait_for(lambda: any((tmp_path / "pool").glob("reliability-*")), child, "the reliability is being measured")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    assert not (job.folder / RESULTS).exists()
    work(job)
    for name in ("pretrain", "distill"):
        assert digest_of(job.folder / name) == digest_of(home / "out" / "default" / "seed-0" / name)


def wait_for(holds: Callable[[], bool], child: multiprocessing.process.BaseProcess, what: str) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert child.is_alive(), f"the run ended before: {what}"
        assert time.monotonic() < end, what
        time.sleep(0.01)


def finished(home: Path) -> Job:
    return jobs_of(load_ablation(home / "ablation.toml"), home / "out", home / "pool", ["contrastive"], [0])[0]


def test_another_recipe_is_refused_unless_forced(home: Path, tmp_path: Path) -> None:
    job = finished(home)
    distill = job.recipe.distill.model_copy(update={"lr": 0.25})
    other = replace(job, recipe=job.recipe.model_copy(update={"distill": distill}))
    with pytest.raises(StaleError, match=r"other lr \(was 0\.0005, now 0\.25\)"):
        work(other)
    made = target(home, "contrastive", "distill")
    work(replace(other, force=True))
    assert target(home, "contrastive", "distill") != made
    work(replace(job, force=True))  # back to where it was, without training
    assert target(home, "contrastive", "distill") == made


def test_an_ablation_in_which_no_set_counts_is_refused(home: Path) -> None:
    """Each set has four samples."""
    job = finished(home)
    asked = job.recipe.evaluate.model_copy(update={"least_groups": 5})
    with pytest.raises(ConfigError, match="has the 5 groups in its test split that least_groups asks for"):
        work(replace(job, recipe=job.recipe.model_copy(update={"evaluate": asked})))


def test_one_failure_stops_no_other_run_and_is_named_at_the_end(home: Path, tmp_path: Path) -> None:
    job = finished(home)
    card = job.folder / "nowhere.toml"
    broken = job.recipe.evaluate.model_copy(update={"cards": [card]})
    bad = replace(job, variant="bad", recipe=job.recipe.model_copy(update={"evaluate": broken}))
    with pytest.raises(TrainingError, match=r"1 of 2 runs failed \(\[1/2\] bad, seed 0\)"):
        run_all([replace(bad, folder=home / "out" / "contrastive" / "seed-0"), job], home / "out")
    assert (home / "out" / RESULTS).is_file()


def test_the_first_jobs_are_of_different_seeds_and_share_the_processors(home: Path) -> None:
    ablation = load_ablation(home / "ablation.toml")
    jobs = jobs_of(ablation, home / "out", home / "pool", jobs=2)
    assert [(job.variant, job.recipe.seed) for job in jobs[:3]] == [("default", 0), ("default", 1), ("contrastive", 0)]
    assert {job.recipe.machine.threads for job in jobs} == {max(1, len(os.sched_getaffinity(0)) // 2)}
    with pytest.raises(ConfigError, match="did you mean 'right'"):
        jobs_of(ablation, home / "out", home / "pool", only=["rigth"])


@pytest.mark.parametrize(("modality", "made"), [("corpus", []), ("evidence", ["evidence"])])
def test_evidence_is_made_where_the_reliability_goes_by_it(
    modality: str, made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(RECIPE + "[evidence]\n")
    recipe = open_run(tmp_path / "mine.toml", tmp_path, [f"reliability.modality={modality}"]).recipe
    done: list[str] = []
    for name, spec in STAGES.items():
        noted = replace(spec, body=lambda spec, run, world: done.append(spec.name))
        monkeypatch.setitem(STAGES, name, noted)
    monkeypatch.setattr(job_module, "_extract", lambda run: done.append("extract"))
    monkeypatch.setattr(job_module, "_measure", lambda run, job: [])
    assert rows_of(Job("default", recipe, tmp_path / "run", tmp_path / "pool")) == []
    assert done == ["curate", "extract", *made, "reliability", "pretrain", "distill"]  # it has no world


@pytest.mark.slow
def test_two_workers_at_a_time_make_the_same_bits_also_after_the_driver_was_killed(home: Path, tmp_path: Path) -> None:
    ablation = load_ablation(home / "ablation.toml")
    jobs = jobs_of(ablation, tmp_path / "out", tmp_path / "pool", ["default", "right"], [0], jobs=2)
    child = multiprocessing.get_context("spawn").Process(
        target=run_all, args=(jobs, tmp_path / "out", LocalExecutor(2))
    )
    child.start()
    wait_for(lambda: any((tmp_path / "pool").glob("corpus-*")), child, "a corpus is there")
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    run_all(jobs, tmp_path / "out", LocalExecutor(2))
    for variant in ("default", "right"):
        for name in ("corpus", "features/one", "pretrain", "distill"):
            own, other = (place / "out" / variant / "seed-0" / name for place in (tmp_path, home))
            assert digest_of(own) == digest_of(other)
    assert not list(tmp_path.rglob(".units"))
