"""Training by several processes: the same losses and weights as one process on the same global batch."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from rank_jobs import Job, command, train

from mmkd.training.records.metrics_log import read_metrics
from short_runs import assert_trained_alike

pytestmark = pytest.mark.slow  # one launch of two processes serves every test here, in half a minute

SETTINGS = {
    "epochs": 2, "batch_size": 16, "lr": 1e-3, "checkpoint_every": 5, "log_every": 1, "validate_every": 4,
    "text_buckets": 2, "augment": {"shift": 0.1, "noise": 0.02},
}  # fmt: skip
AVERAGED = {**SETTINGS, "matryoshka": [6, 3], "ema": 0.9, "select": "best", "checkpoint_every": 3}
TERMS = {
    "objective": "affinity",
    "weighting": "everyone",
    "contrastive": 0.3,
    "terms": {"heads": 0.5, "interactive": 0.2, "relational": 0.2, "stacked": 0.5},
    "caption_evidence": True,
    "ema": 0.9,
    "self_teacher": 0.3,
}
FSDP = {"sharding": "fsdp"}
UNLIKE = ("pairs_per_s", "wait", "mfu", "tflops", "memory_gb")
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
PATCHES = {"terms": {"patches": 0.5}, "augment": {"shift": 0.1}, "matryoshka": [6]}
CASES = {
    "plain": ("pretrain", {}),
    "micro-batches": ("pretrain", {"micro_batch": 4}),
    "fsdp": ("pretrain", FSDP),
    "averaged, validated, fsdp": ("averaged", FSDP),
    "distilled": ("distill", {}),
    "distilled, fsdp": ("distill", FSDP),
    "patches": ("patches", {}),
    "patches, micro-batches": ("patches", {"micro_batch": 4}),
    "patches, fsdp": ("patches", FSDP),
}
"""What two processes train, all in one launch -> the job of one process that it equals, and changes of the machine."""


@pytest.fixture(scope="module")
def alone(
    tiny_corpus: Path,
    tiny_features: Path,
    tiny_patches: Path,
    tiny_stacks: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Job]:
    """The jobs, done by one process."""
    folder = tmp_path_factory.mktemp("alone")
    inputs = [folder / "pretrain", tiny_corpus, tiny_features, tiny_stacks]
    jobs: dict[str, Job] = {
        "pretrain": {"corpus": tiny_corpus, "settings": SETTINGS, "out": folder / "pretrain"},
        "averaged": {"corpus": tiny_corpus, "settings": AVERAGED, "out": folder / "averaged"},
        "distill": {"inputs": inputs, "settings": {**SETTINGS, "epochs": 1, **TERMS}, "out": folder / "distill"},
        "patches": {
            "inputs": [folder / "pretrain", tiny_corpus, tiny_patches, tiny_stacks],
            "settings": {**SETTINGS, "epochs": 1, **PATCHES},
            "out": folder / "patches",
        },
    }
    for job in jobs.values():
        train(job)
    return jobs


@pytest.fixture(scope="module")
def by_two(alone: dict[str, Job], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of `CASES`."""
    folder = tmp_path_factory.mktemp("by-two")
    run(*({**alone[job], "machine": machine, "out": folder / name} for name, (job, machine) in CASES.items()), ranks=2)
    return folder


def run(*jobs: Job, ranks: int) -> str:
    done = subprocess.run(command(jobs, ranks), capture_output=True, text=True, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def numbers(folder: Path) -> list[dict[str, Any]]:
    records = read_metrics(folder / "metrics.jsonl")
    return [{name: value for name, value in record.items() if name not in UNLIKE} for record in records]


def assert_alike(left: Path, right: Path) -> None:
    a, b = numbers(left), numbers(right)
    assert [sorted(record) for record in a] == [sorted(record) for record in b]
    for one, other in zip(a, b, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4)
    assert_trained_alike(left, right, lr=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(name: str, alone: dict[str, Job], by_two: Path) -> None:
    assert_alike(alone[CASES[name][0]]["out"], by_two / name)


def test_shared_weights_are_averaged_validated_and_gone_on_with_after_a_kill(
    alone: dict[str, Job], tmp_path: Path
) -> None:
    shared = {**alone["averaged"], "out": tmp_path / "two", "machine": FSDP}
    killed = subprocess.run(command([{**shared, "killed_at": 7}], 2), capture_output=True, text=True, env=ONE_THREAD)
    assert killed.returncode != 0
    assert "Signal 9" in killed.stderr
    assert "is damaged" not in run(shared, ranks=2)
    assert_alike(alone["averaged"]["out"], tmp_path / "two")


def wait_for_records(folder: Path, process: subprocess.Popen[str]) -> None:
    while len(read_metrics(folder / "metrics.jsonl")) < 2:
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.002)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_signal_to_the_whole_group_saves_though_workers_decode(
    ranks: int, alone: dict[str, Job], tmp_path: Path
) -> None:
    """A scheduler signals every process of a job, image workers too; torchrun passes it on and fails itself."""
    machine = {"workers": 1, "decoded_cache_mb": 0}
    long = {**SETTINGS, "epochs": 40, "checkpoint_every": 5000, "validate_every": 0}
    job = {**alone["pretrain"], "settings": long, "machine": machine, "out": tmp_path / "student"}
    process = subprocess.Popen(
        command([job], ranks),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
        start_new_session=True,
    )
    wait_for_records(tmp_path / "student.partial", process)
    os.killpg(process.pid, signal.SIGTERM)
    said, error = process.communicate()
    assert process.returncode == (0 if ranks == 1 else 1), error
    assert said.count("stopped by SIGTERM after step") == 1, error
    assert "killed by signal" not in error
    saved = list((tmp_path / "student.partial" / "checkpoints").glob("step-*.json"))
    assert len(saved) == 1


def test_two_processes_go_on_where_one_was_asked_to_stop(alone: dict[str, Job], tmp_path: Path) -> None:
    job = {**alone["pretrain"], "out": tmp_path / "student"}
    process = subprocess.Popen(command([job], 1), stdout=subprocess.PIPE, text=True, env=ONE_THREAD)
    wait_for_records(tmp_path / "student.partial", process)
    process.terminate()
    said, _ = process.communicate()
    assert process.returncode == 0
    assert "stopped by SIGTERM after step" in said
    assert not (tmp_path / "student").exists()
    said = run(job, ranks=2)
    assert said.count("resumed after step") == 1  # one of them speaks
    assert_alike(alone["pretrain"]["out"], tmp_path / "student")
