"""Trainings side by side end in the bits of trainings one after another, whoever is killed on the way."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmkd.commands.options import open_run
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError, TrainingError
from mmkd.executors.local import work_here
from mmkd.executors.plan import LEASE, NOTES
from mmkd.executors.state import units_beside
from mmkd.executors.unit import Unit
from mmkd.folders.stage import digest_of
from mmkd.pipeline.preflight import show_standings
from mmkd.pipeline.run import Run
from mmkd.pipeline.side_by_side import Watch, shared_machine, to_hand_out
from mmkd.pipeline.trainings import train
from mmkd.pipeline.work import work_one
from mmkd.teachers.files import open_clip_folder

TWO = "executor.workers=2"
LONGER = ["distill.epochs=20", "distill.checkpoint_every=3"]  # 40 steps: time to be killed in
STUDENTS = ("rivals/other", "distill")
Finished = tuple[Path, Any]  # the recipe, and what its teacher has been through
Opened = Callable[..., Run]


@pytest.fixture
def opened(finished_run: Finished, tmp_path: Path) -> Opened:
    """Opens a copy of the finished run without these folders, with these changes of its recipe."""
    recipe, _ = finished_run

    def open_copy(*gone: str, changes: list[str], name: str = "run", force: bool = False) -> Run:
        out = Path(shutil.copytree(recipe.parent / "run", tmp_path / name, symlinks=True))
        for folder in gone:
            shutil.rmtree(out / folder)
        return open_run(recipe, out, changes, force)

    return open_copy


@pytest.fixture(scope="module")
def longer(finished_run: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose students were trained longer, one after another and undisturbed."""
    recipe, _ = finished_run
    out = tmp_path_factory.mktemp("longer") / "run"
    shutil.copytree(recipe.parent / "run", out, symlinks=True)
    for name in STUDENTS:
        shutil.rmtree(out / name)
    work_one(open_run(recipe, out, LONGER), "distill")
    return out


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process does all units of two workers, which is faster than their start."""
    monkeypatch.setattr("mmkd.executors.local.drive", lambda plan, crew: work_here(plan))


def log_of(out: Path, name: str) -> Path:
    return out / "logs" / name / "training.log"


def same_digests(left: Path, right: Path, *names: str) -> bool:
    return all(digest_of(left / name) == digest_of(right / name) for name in names)


def when(condition: Callable[[], bool], act: Callable[[], None]) -> threading.Thread:
    """Act once the condition holds; so does a thread that is joined after it has."""

    def watch() -> None:
        until = time.monotonic() + 300  # the machine may be busy
        while not condition() and time.monotonic() < until:
            time.sleep(0.002)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def when_saved(out: Path, name: str, act: Callable[[], None]) -> threading.Thread:
    """Act once that training has saved a checkpoint."""
    return when(lambda: any((out / f"{name}.partial" / "checkpoints").glob("step-*.json")), act)


def end_worker(out: Path, name: str, how: signal.Signals) -> None:
    """Send the signal to the process that has begun the training last, by its log."""
    os.kill(int(re.findall(r": process (\d+) on", log_of(out, name).read_text())[-1]), how)


def failing_once(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """The function, but that its first call fails as where a disk does."""
    calls = count()

    def failing(path: Path) -> Any:
        if next(calls) == 0:
            raise DataError("the disk is gone")
        return function(path)

    return failing


def command(run: Run, recipe: Path, *changes: str) -> subprocess.Popen[str]:
    """`mmkd distill`, as the leader of a group of its own."""
    asked = [word for change in changes for word in ("--set", change)]
    words = [sys.executable, "-m", "mmkd", "distill", str(recipe), "--out", str(run.out), *asked]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.usefixtures("no_processes")
def test_two_workers_train_what_one_does(
    finished_run: Finished, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    """By processes the same bits are made in a whole run, in `test_beside.py`."""
    gone = "specialists/one", "specialists/two", "specialists/one.corpus"
    run = opened(*gone, changes=[TWO])
    work_one(run, "specialists")
    told = capsys.readouterr().out
    assert "specialists: 2 trainings are handed out: specialists/one, specialists/two\n" in told
    assert all(f"] {name}: finished" in told for name in gone[:2])
    assert same_digests(run.out, finished_run[0].parent / "run", *gone)
    assert "specialists/one: stage 1\n" in log_of(run.out, "specialists/one").read_text()
    assert (run.out / "curves.html").stat().st_mtime > (run.out / "specialists/one/manifest.json").stat().st_mtime
    assert not list(run.out.rglob(NOTES))
    work_one(run, "specialists")
    told = capsys.readouterr().out
    assert told.count("is complete, skipped") == 4
    assert "handed out" not in told


@pytest.mark.slow
def test_a_killed_worker_goes_on_from_its_checkpoint(longer: Path, opened: Opened) -> None:
    run = opened(*STUDENTS, changes=[*LONGER, TWO])
    killer = when_saved(run.out, "distill", partial(end_worker, run.out, "distill", signal.SIGKILL))
    work_one(run, "distill")
    killer.join()
    told = log_of(run.out, "distill").read_text()
    assert len(re.findall(r"distill: process \d+ on", told)) == 2
    assert "resumed after step" in told
    assert same_digests(longer, run.out, *STUDENTS)


@pytest.mark.usefixtures("no_processes")
def test_a_failed_training_is_named_and_the_others_finish(
    finished_run: Finished, opened: Opened, capsys: pytest.CaptureFixture[str]
) -> None:
    run = opened(*STUDENTS, changes=["rivals.other.batch_size=1000", TWO])
    log = log_of(run.out, "rivals/other")
    with pytest.raises(TrainingError, match=r"^1 of 2 trainings failed.*\n  rivals/other: batch_size 1000") as failed:
        work_one(run, "distill")
    assert f"(its log: {log})" in str(failed.value)
    assert "batch_size 1000 is larger than" in log.read_text()
    assert f"rivals/other: failed, see {log}" in capsys.readouterr().out
    assert same_digests(run.out, finished_run[0].parent / "run", "distill")
    assert not (run.out / "rivals/other").exists()
    (state,) = units_beside(run.out)
    assert (state.name, state.done, [*state.failed]) == ("distill", 1, ["rivals/other"])


def failed_once(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run by two workers of which one training has failed, for a reason that is mended by now."""
    run = opened(*STUDENTS, changes=[TWO])
    monkeypatch.setattr(open_clip_folder, "load", failing_once(open_clip_folder.load))
    with pytest.raises(TrainingError, match="1 of 2 trainings failed"):
        work_one(run, "distill")
    return run


@pytest.mark.usefixtures("no_processes")
def test_after_a_failure_was_mended_all_are_finished(
    finished_run: Finished, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = failed_once(opened, monkeypatch)
    assert (run.out / "distill").exists()
    shutil.rmtree(run.out / "distill")  # its mark is still there
    work_one(run, "distill")
    assert same_digests(run.out, finished_run[0].parent / "run", *STUDENTS)
    assert not list(run.out.rglob(NOTES))


@pytest.mark.usefixtures("no_processes")
def test_nothing_is_told_of_failures_that_one_process_has_mended(
    finished_run: Finished, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = failed_once(opened, monkeypatch)
    assert [*units_beside(run.out)]
    work_one(open_run(finished_run[0], run.out, []), "distill")
    assert not [*units_beside(run.out)]


def test_what_would_be_refused_is_refused_before_any_training(opened: Opened) -> None:
    run = opened("rivals/other", changes=["distill.epochs=2", TWO])
    with pytest.raises(ConfigError, match=r"distill.*epochs \(was 1, now 2\)"):
        work_one(run, "distill")
    assert not (run.out / "rivals/other.partial").exists()


@pytest.mark.usefixtures("no_processes")
def test_force_makes_students_anew_side_by_side(finished_run: Finished, longer: Path, opened: Opened) -> None:
    run = opened(changes=[*LONGER, TWO], force=True)
    work_one(run, "distill")
    assert same_digests(longer, run.out, *STUDENTS)
    assert not list(run.out.rglob("*.old"))


def test_a_dry_run_says_the_same_with_any_executor(opened: Opened, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for number, changes in enumerate(([], [TWO], ["executor={kind = 'slurm'}"])):
        run = opened("specialists/one", "distill", changes=changes, name=f"run{number}")
        show_standings(run)
        told.append(capsys.readouterr().out.replace(f"run{number}", "run"))
        assert not (run.out / "logs").exists()
    assert "to do" in told[0]
    assert told[0] == told[1] == told[2]


@pytest.mark.parametrize(
    ("changes", "world", "names"),
    [
        ([TWO], ALONE, [*STUDENTS]),
        (["executor.workers=1"], ALONE, []),
        ([], ALONE, []),
        ([TWO, "machine.gpus=2"], ALONE, []),
        ([TWO], World(0, 2), []),
    ],
)
def test_who_trains(changes: list[str], world: World, names: list[str], opened: Opened) -> None:
    run = opened(*STUDENTS, changes=changes)
    inputs = ["corpus", "pretrain", "reliability"]
    assert to_hand_out({name: partial(train, name, inputs) for name in STUDENTS}, run, world) == names


def test_a_single_training_is_handed_to_other_machines_only(opened: Opened) -> None:
    trainings = {"pretrain": partial(train, "pretrain", ["corpus"])}
    here = opened("pretrain", changes=[TWO])
    assert to_hand_out(trainings, here, ALONE) == []
    there = opened("pretrain", changes=["executor={kind = 'slurm'}"], name="there")
    assert to_hand_out(trainings, there, ALONE) == ["pretrain"]


def test_what_the_recipe_leaves_open_of_the_machine_is_shared(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmkd.pipeline.side_by_side.own_processors", lambda: 6)
    run = opened(changes=["machine={device = 'cpu'}", TWO])
    shared = shared_machine(run, 3)
    assert (shared.threads, shared.workers) == (3, 3)
    many = opened(changes=["machine={device = 'cpu'}", "executor.workers=8"], name="many")
    assert shared_machine(many, 3).threads == 2  # no more work at the same time
    given = opened(changes=["machine={device = 'cpu', threads = 1, workers = 0}", TWO], name="given")
    shared = shared_machine(given, 2)
    assert (shared.threads, shared.workers) == (1, 0)


def test_the_command_tells_which_trainings_run_and_their_last_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = {name: tmp_path / f"{name}.log" for name in ("one", "two")}
    units = [Unit(name, name, tmp_path / "mark", SimpleNamespace(log=log)) for name, log in logs.items()]
    (tmp_path / f"one{LEASE}").touch()  # nobody works on the other
    watch = Watch(units, tmp_path, every_s=0)
    watch.tell()
    watch.tell()  # nothing is in the log
    assert capsys.readouterr().out == f"  one: runs; its log: {logs['one']}\n"
    logs["one"].write_text("one: stage 1\n  train: 7 of 9 steps\n  train: 8 o")
    logs["two"].write_text("of an earlier call\n")
    watch.tell()
    assert capsys.readouterr().out == "  one: train: 7 of 9 steps\n"


@pytest.mark.slow
def test_a_killed_command_goes_on_from_the_checkpoints_and_sigterm_has_it_save(
    longer: Path, opened: Opened, finished_run: Finished
) -> None:
    run = opened(*STUDENTS, changes=[])
    log = log_of(run.out, "distill")
    killed = command(run, finished_run[0], *LONGER, TWO)
    when_saved(run.out, "distill", killed.kill).join()
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not (run.out / "distill").exists()
    stopped = command(run, finished_run[0], *LONGER, TWO)
    when(lambda: "resumed after step" in log.read_text(), stopped.terminate).join()
    told, problem = stopped.communicate(timeout=300)
    assert stopped.returncode == 0, problem
    assert told.endswith("stopped by SIGTERM; run the same command again to go on\n")
    assert "resumed after step" in log.read_text()
    assert "stopped by SIGTERM after step" in log.read_text()
    work_one(open_run(finished_run[0], run.out, LONGER), "distill")  # another number of workers changes nothing
    assert same_digests(longer, run.out, *STUDENTS)
    assert not list(run.out.rglob(NOTES))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "executor"),
    [("submitit", "{kind = 'slurm', cluster = 'local', workers = 2}"), ("ray", "{kind = 'ray', workers = 2}")],
)
def test_workers_of_an_engine_train_the_same_and_go_on_after_sigterm(
    module: str, executor: str, longer: Path, opened: Opened, finished_run: Finished
) -> None:
    pytest.importorskip(module)
    run = opened(*STUDENTS, changes=[])
    training = command(run, finished_run[0], *LONGER, f"executor={executor}")
    ender = when_saved(run.out, "distill", partial(end_worker, run.out, "distill", signal.SIGTERM))
    told, problem = training.communicate(timeout=500)
    ender.join()
    assert training.returncode == 0, problem
    assert "distill: 2 trainings are handed out" in told
    log = log_of(run.out, "distill").read_text()
    assert "stopped by SIGTERM after step" in log
    assert "resumed after step" in log
    assert same_digests(longer, run.out, *STUDENTS)
