"""The executor of Slurm: on a real Slurm of one node where that is installed, and as processes of this machine."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import engine_acts
import pytest
from engine_acts import PYTHONPATH, attempts, digest_of, done_by
from one_node_slurm import lacking, one_node, start_now
from stage_work import STAGES, Check

from mmkd.errors import ConfigError, DataError
from mmkd.executors.local import LocalExecutor
from mmkd.executors.slurm import Arrays, SlurmSettings
from mmkd.inference.embed import embed
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.training.records.metrics_log import read_metrics
from tiny import write_noise

pytest.importorskip("submitit")
TRAINING = Path(__file__).parents[1] / "training" / "rank_jobs.py"
QUICK = {"poll_s": 0.3, "timeout_min": 30, "array_parallelism": 2}


@pytest.fixture(scope="module", autouse=True)
def package_is_found() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PYTHONPATH)
        yield


@pytest.fixture(scope="module")
def why_none(package_is_found: None) -> Iterator[str]:
    """Why there is no Slurm here; "" where there is, while the fixture lives."""
    with ExitStack() as held:
        if not (why := lacking()):
            try:
                conf = held.enter_context(one_node())
                held.enter_context(pytest.MonkeyPatch.context()).setenv("SLURM_CONF", str(conf))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                why = f"Slurm is installed and does not start here: {error}"
        yield why


@pytest.fixture
def slurm(why_none: str) -> None:
    if why_none:
        pytest.skip(why_none)


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def command(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_processes_of_submitit_make_what_local_makes(tmp_path: Path, workers: int) -> None:
    """Also where a worker is killed. Submitit's local executor stands in for Slurm."""
    executor = SlurmSettings(**QUICK, cluster="local", workers=workers).open()
    acts = ["sleep 0.05"] * 6 + ["die once"]
    assert done_by(executor, tmp_path / "slurm", acts) == done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 7)
    assert [attempts(path) for path in sorted((tmp_path / "slurm").glob("*.done"))] == [1] * 6 + [2]
    assert not (tmp_path / "slurm" / ".units").exists()


@pytest.mark.slow
def test_slurm_makes_what_local_makes_though_a_worker_is_killed(slurm: None, tmp_path: Path) -> None:
    executor = SlurmSettings(**QUICK, partition="low").open()
    acts = ["sleep 0.05"] * 6 + ["die once"]
    assert done_by(executor, tmp_path / "slurm", acts) == done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 7)
    assert [attempts(path) for path in sorted((tmp_path / "slurm").glob("*.done"))] == [1] * 6 + [2]
    assert not (tmp_path / "slurm" / ".units").exists()
    until(lambda: not command("squeue", "-h"))


@pytest.mark.slow
def test_what_fails_is_named_with_the_log_of_its_job(slurm: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 units of work failed") as caught:
        done_by(SlurmSettings(**QUICK).open(), tmp_path / "slurm", ["defect", "die", "sleep 0"])
    assert "0: RuntimeError: no reason" in str(caught.value)
    log = Path(str(caught.value).partition("its log: ")[2].partition(" (see")[0])
    assert "this is 1" in log.read_text()
    assert (tmp_path / "slurm" / "2.done").is_file()


@pytest.mark.slow
def test_a_task_whose_node_is_taken_comes_back_and_its_unit_has_not_failed(slurm: None, tmp_path: Path) -> None:
    folder = tmp_path / "slurm"
    found: list[str] = []
    settings = SlurmSettings(**QUICK, partition="low", workers=1)
    work = threading.Thread(target=lambda: found.append(done_by(settings.open(), folder, ["sleep 0.1", "sleep 4"])))
    work.daemon = True
    work.start()
    until(lambda: (folder / "1.attempts").exists())
    job = command("squeue", "-h", "-o", "%A").split()[0]
    command("sbatch", "-p", "high", "-n", "4", "-o", "/dev/null", "--wrap", "sleep 1")
    until(lambda: "Restarts=1" in command("scontrol", "show", "job", job))
    start_now(job)
    until(lambda: (folder / "1.attempts").exists() and attempts(folder / "1.done") == 2)
    assert not list((folder / ".units").rglob("*.failed"))
    log = next((folder / ".units").rglob("*.log")).read_text()
    assert "put back 0 times" in log
    assert "put back 1 times" in log
    work.join(60)
    assert found == [done_by(LocalExecutor(1), tmp_path / "one", ["sleep 0"] * 2)]
    assert attempts(folder / "0.done") == 1


@pytest.mark.slow
def test_a_driver_that_is_started_again_takes_over_the_array_of_the_killed_one(
    slurm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, acts = tmp_path / "slurm", ["sleep 0.4"] * 30
    settings = {"kind": "slurm", **QUICK}
    script = [sys.executable, engine_acts.__file__, json.dumps(settings), str(folder), *acts]
    driver = subprocess.Popen(script, stdout=subprocess.DEVNULL)
    until(lambda: len(list(folder.glob("*.done"))) > 2)
    driver.kill()
    driver.wait()
    before = len(list(folder.glob("*.done")))
    until(lambda: len(list(folder.glob("*.done"))) > before + 1)  # the array goes on without a driver
    assert len(list(folder.glob("*.done"))) < 25

    def none_is_needed(*given: object) -> None:
        raise AssertionError("submitted anew")

    monkeypatch.setattr(Arrays, "_submit", none_is_needed)
    assert done_by(SlurmSettings(**settings).open(), folder, acts) == digest_of(folder)
    assert [attempts(path) for path in folder.glob("*.done")] == [1] * 30
    until(lambda: not command("squeue", "-h"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_what_one_process_does(why_none: str, stage: str, makes_the_same: Check) -> None:
    """Where there is no Slurm, by processes of submitit."""
    # each of the three steps of an evaluation starts workers of its own, who import torch; the others have one step
    at_a_time = 1 if stage == "evaluation" else 2
    settings = {**QUICK, "array_parallelism": at_a_time, "cluster": "local" if why_none else "slurm"}
    makes_the_same(stage, SlurmSettings(**settings, cpus=1).open())


@pytest.mark.slow
def test_embedding_writes_the_bytes_of_one_process(
    tiny_teachers: list[TeacherSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Submitit's local executor stands in for Slurm."""
    monkeypatch.setattr("mmkd.inference.blocks.BLOCK", 4)
    (tmp_path / "pictures").mkdir()
    write_noise(tmp_path / "pictures", 10, 0)
    model = tiny_teachers[0].model.removeprefix("local-dir:")
    for name, executor in (("one", None), ("two", SlurmSettings(**QUICK, cluster="local", workers=2).open())):
        embed(tmp_path / "pictures", model, tmp_path / f"{name}.parquet", devices=["cpu"], executor=executor)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.slow
def test_a_driver_that_is_a_job_trains_on_its_node_and_saves_when_its_time_is_over(
    slurm: None, tiny_corpus: Path, tmp_path: Path
) -> None:
    """As `sbatch --signal B:TERM@120 --wrap 'exec mmkd pretrain my.toml --gpus 2'`."""
    settings = {"epochs": 300, "batch_size": 16, "checkpoint_every": 5000, "log_every": 1}
    job = {"corpus": tiny_corpus, "settings": settings, "out": tmp_path / "student", "gpus": 2}
    script, log = tmp_path / "job.sh", tmp_path / "job.log"
    said = [sys.executable, str(TRAINING), json.dumps([job], default=str)]
    script.write_text(f"#!/bin/sh\nexec {shlex.join(said)}\n")
    options = ("--parsable", "--ntasks=1", "--cpus-per-task=2", "--export=ALL", f"--output={log}")
    number = command("sbatch", *options, str(script)).strip()
    until(lambda: len(read_metrics(tmp_path / "student.partial" / "metrics.jsonl")) > 2, 300)
    command("scancel", "--signal=TERM", "--batch", number)
    until(lambda: not command("squeue", "-h", "-j", number).strip(), 120)
    assert log.read_text().count("stopped by SIGTERM after step") == 1, log.read_text()
    assert len(list((tmp_path / "student.partial" / "checkpoints").glob("step-*.json"))) == 1
    assert list((tmp_path / "logs").glob("process-1.log"))


@pytest.mark.slow
def test_jobs_that_slurm_refuses_are_an_error_with_its_words(slurm: None, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="invalid partition specified: nowhere"):
        done_by(SlurmSettings(partition="nowhere").open(), tmp_path / "slurm", ["sleep 0"])


def test_without_slurm_the_error_says_how_to_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    with pytest.raises(ConfigError, match=r"squeue|srun"):
        done_by(SlurmSettings().open(), tmp_path, ["sleep 0"])
