"""Training by several processes: the same losses and weights as one process on the same global batch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mmkd.training.records.metrics_log import read_metrics

WEIGHTS = "open_clip_model.safetensors"
SCRIPT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny import MACHINE, tiny_config
from mmkd.distributed import join_world
from mmkd.folders.stage import Stage, complete
from mmkd.student.settings import StudentSettings
from mmkd.training.distill import Inputs, distill
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.pretrain import pretrain
from mmkd.training.settings.train import PretrainSettings
from mmkd.training.step import Stepper

job = json.loads(sys.argv[1])
if "killed_at" in job:
    step_of = Stepper.__call__

    def dying(self, batch, step):
        if step == job["killed_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return step_of(self, batch, step)

    Stepper.__call__ = dying
machine = MACHINE.model_copy(update=job["machine"])
with join_world() as world:
    stage = Stage("student", Path(job["out"]), job["settings"], outputs=({weights!r},))
    if "inputs" in job:
        settings = DistillSettings(**job["settings"])
        inputs = Inputs(*map(Path, job["inputs"]), ["narrow", "wide"])
        body = lambda folder: distill(settings, inputs, folder, machine, 0, None, world)
    else:
        settings = PretrainSettings(**job["settings"])
        student = StudentSettings(config=tiny_config())
        body = lambda folder: pretrain(settings, student, Path(job["corpus"]), folder, machine, 0, None, world)
    complete(stage, body, world=world)
"""
SETTINGS = {
    "epochs": 2, "batch_size": 16, "lr": 1e-3, "checkpoint_every": 5, "log_every": 1, "validate_every": 4,
    "text_buckets": 2, "augment": {"shift": 0.1, "noise": 0.02},
}  # fmt: skip
UNLIKE = ("pairs_per_s", "wait", "mfu", "tflops", "memory_gb")
Job = dict[str, Any]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "train.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parents[1]), weights=WEIGHTS))
    return path


@pytest.fixture(scope="module")
def alone(script: Path, tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """What one process has trained."""
    job = {"corpus": tiny_corpus, "settings": SETTINGS, "out": tmp_path_factory.mktemp("alone") / "student"}
    run(script, job, ranks=1)
    return job


def command(script: Path, job: Job, ranks: int) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)] if ranks > 1 else []
    return [sys.executable, *launcher, str(script), json.dumps({"machine": {}, **job}, default=str)]


def run(script: Path, job: Job, ranks: int) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command(script, job, ranks), capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def numbers(folder: Path) -> list[dict[str, Any]]:
    records = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in record.items() if name not in UNLIKE} for record in records]


def assert_alike(left: Path, right: Path) -> None:
    a, b = numbers(left), numbers(right)
    assert [sorted(record) for record in a] == [sorted(record) for record in b]
    for one, other in zip(a, b, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
    first, second = load_file(left / WEIGHTS), load_file(right / WEIGHTS)
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("machine", [{}, {"micro_batch": 4}, {"sharding": "fsdp"}])
def test_two_processes_train_as_one(machine: dict[str, object], script: Path, alone: Job, tmp_path: Path) -> None:
    run(script, {**alone, "out": tmp_path / "two", "machine": machine}, ranks=2)
    assert_alike(alone["out"], tmp_path / "two")


def test_two_processes_distil_as_one(
    script: Path, alone: Job, tiny_features: Path, tiny_reliability: Path, tmp_path: Path
) -> None:
    inputs = [alone["out"], alone["corpus"], tiny_features, tiny_reliability]
    terms = {"weighting": "everyone", "contrastive": 0.3, "heads": 0.5, "interactive": 0.2, "relational": 0.2}
    job = {"inputs": inputs, "settings": {**SETTINGS, "epochs": 1, **terms}}
    for ranks in (1, 2):
        run(script, {**job, "out": tmp_path / str(ranks)}, ranks)
    assert_alike(tmp_path / "1", tmp_path / "2")


def test_shared_weights_are_averaged_validated_and_gone_on_with_after_a_kill(
    script: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "ema": 0.9, "select": "best", "checkpoint_every": 3}
    job = {"corpus": tiny_corpus, "settings": settings}
    run(script, {**job, "out": tmp_path / "one"}, ranks=1)
    shared = {**job, "out": tmp_path / "two", "machine": {"sharding": "fsdp"}}
    killed = subprocess.run(command(script, {**shared, "killed_at": 7}, 2), capture_output=True, text=True)
    assert killed.returncode != 0
    assert "Signal 9" in killed.stderr
    assert "is damaged" not in run(script, shared, ranks=2)
    assert_alike(tmp_path / "one", tmp_path / "two")


def wait_for_records(folder: Path, process: subprocess.Popen[str]) -> None:
    while len(read_metrics(folder / "metrics.jsonl")) < 2:
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.002)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_signal_to_the_whole_group_saves_though_workers_decode(
    ranks: int, script: Path, alone: Job, tmp_path: Path
) -> None:
    """A scheduler signals every process of a job, image workers too; torchrun passes it on and fails itself."""
    machine = {"workers": 1, "decoded_cache_mb": 0}
    long = {**SETTINGS, "epochs": 40, "checkpoint_every": 5000, "validate_every": 0}
    job = {**alone, "settings": long, "machine": machine, "out": tmp_path / "student"}
    process = subprocess.Popen(
        command(script, job, ranks), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for_records(tmp_path / "student.partial", process)
    os.killpg(process.pid, signal.SIGTERM)
    said, error = process.communicate()
    assert process.returncode == (0 if ranks == 1 else 1), error
    assert said.count("stopped by SIGTERM after step") == 1, error
    assert "killed by signal" not in error
    saved = list((tmp_path / "student.partial" / "checkpoints").glob("step-*.json"))
    assert len(saved) == 1


def test_two_processes_go_on_where_one_was_asked_to_stop(script: Path, alone: Job, tmp_path: Path) -> None:
    job = {**alone, "out": tmp_path / "student"}
    process = subprocess.Popen(command(script, job, 1), stdout=subprocess.PIPE, text=True)
    wait_for_records(tmp_path / "student.partial", process)
    process.terminate()
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "stopped by SIGTERM after step" in said
    assert not (tmp_path / "student").exists()
    said = run(script, job, ranks=2)
    assert said.count("resumed after step") == 1  # one of them speaks
    assert_alike(alone["out"], tmp_path / "student")
