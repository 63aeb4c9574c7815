"""Training by processes that the command starts itself: the weights of torchrun's, and no process that stays behind."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from rank_jobs import Job, command, train
from typer.testing import CliRunner

from mmkd.cli import app
from mmkd.device import check_gpus
from mmkd.errors import ConfigError
from mmkd.settings import Machine
from mmkd.training import launch, rank
from mmkd.training.launch import train_by
from mmkd.training.loop import Place
from mmkd.training.records.metrics_log import read_metrics
from short_runs import same
from tiny import MACHINE, recipe_of

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
SETTINGS = {"epochs": 20, "batch_size": 16, "lr": 1e-3, "checkpoint_every": 5, "log_every": 1}


def refused(place: Place) -> dict[str, int]:
    """A body in which one process refuses, and the other waits for it."""
    if place.world.rank == 1:
        raise ConfigError("batch_size 7: expected another")
    place.world.wait()
    return {}


def counted(place: Place) -> dict[str, int]:
    """A body that works."""
    print(f"said by {place.world.rank}")
    return {"ranks": sum(place.world.collect(place.world.rank)), "threads": int(os.environ["OMP_NUM_THREADS"])}


def place_in(folder: Path) -> Place:
    return Place(folder, MACHINE, 0)


@pytest.mark.slow  # they start processes, which import torch
def test_what_a_process_raises_is_raised_here(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), dict(os.environ)
    with pytest.raises(ConfigError, match=r"^batch_size 7: expected another$"):
        train_by(2, refused, place=place_in(tmp_path), logs=tmp_path / "logs")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), dict(os.environ)) == before


@pytest.mark.slow
def test_the_first_process_has_the_counts(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = train_by(2, counted, place=place_in(tmp_path), logs=tmp_path / "logs")
    assert found == {"ranks": 1, "threads": int(os.environ.get("OMP_NUM_THREADS", "1"))}
    assert capfd.readouterr().out.splitlines()[1:] == ["said by 0"]
    for number in (0, 1):
        heading, said = (tmp_path / "logs" / f"process-{number}.log").read_text().splitlines()
        assert heading.startswith(f"process {number} of 2, ")
        assert said == f"said by {number}"


def children_of(process: int) -> set[int]:
    """All processes that descend from it."""
    found: set[int] = set()
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        found |= {int(child), *children_of(int(child))}
    return found


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class Parent:
    """A process that has others train. Forked from this one, it has imported all; what it prints goes to a file."""

    def __init__(self, job: Job, said: Path) -> None:
        self.job, self.said = job, said
        self.process = multiprocessing.get_context("fork").Process(target=self._train)
        self.process.start()
        self.pid = self.process.pid or 0

    def _train(self) -> None:
        os.environ.update(ONE_THREAD)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout = sys.stderr = out = self.said.open("w", buffering=1)  # left open for a traceback
        for number in (1, 2):
            os.dup2(out.fileno(), number)
        train(self.job)

    def begin(self) -> set[int]:
        """Wait until the others have made some steps more than were there; returns them."""
        log = Path(self.job["out"]).with_name("student.partial") / "metrics.jsonl"
        steps = len(read_metrics(log))
        while len(read_metrics(log)) < steps + 5:
            assert self.process.is_alive(), self.said.read_text()
            time.sleep(0.01)
        return children_of(self.pid)

    def end(self, others: Collection[int] = ()) -> tuple[int | None, str]:
        """Its exit code and what it printed; raises AssertionError where one of the others is left."""
        self.process.join(120)
        until = time.monotonic() + 10
        while any(map(is_alive, others)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not [one for one in others if is_alive(one)]
        return self.process.exitcode, self.said.read_text()


@pytest.mark.slow
def test_a_training_that_ends_in_every_way_goes_on_to_the_weights_of_torchrun(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    by_hand: Job = {"corpus": tiny_corpus, "settings": SETTINGS, "out": tmp_path / "by-hand" / "student"}
    subprocess.run(command([by_hand], 2), env=ONE_THREAD, check=True, capture_output=True)
    job: Job = {**by_hand, "gpus": 2, "out": tmp_path / "own" / "student"}

    def started() -> tuple[Parent, set[int]]:
        parent = Parent(job, tmp_path / "said")
        return parent, parent.begin()

    parent, others = started()
    os.kill(max(others), signal.SIGKILL)
    code, said = parent.end(others)
    assert code == 1
    assert "process 1 of the 2 that train together was killed by SIGKILL: most likely for lack of memory" in said
    assert "process-1.log:\n  process 1 of 2, " in said  # its last lines

    parent, others = started()
    os.kill(parent.pid, signal.SIGTERM)
    code, said = parent.end(others)
    assert code == 0, said
    assert said.count("resumed after step") == 1
    assert said.count("stopped by SIGTERM after step") == 1

    parent, others = started()
    os.kill(parent.pid, signal.SIGINT)
    code, said = parent.end(others)
    assert code in (1, -signal.SIGINT)
    assert "KeyboardInterrupt" in said

    parent, others = started()
    os.kill(parent.pid, signal.SIGKILL)
    code, _ = parent.end(others)
    assert code == -signal.SIGKILL

    code, said = Parent(job, tmp_path / "said").end()
    assert code == 0, said
    assert said.count("resumed after step") == 1
    assert same(by_hand["out"], job["out"])


def write_end(logs: Path, **end: Any) -> None:
    logs.mkdir(exist_ok=True)
    (logs / f"process-{end['rank']}.end").write_text(json.dumps(end))


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({0: 1}, "process 1 of the 3 that train together failed: mend the reason"),  # it said so before
        ({2: -9}, "process 2 of the 3 that train together was killed by SIGKILL: most likely for lack of memory"),
    ],
)
def test_the_process_that_failed_first_is_named(codes: dict[int, int], expected: str, tmp_path: Path) -> None:
    write_end(tmp_path, rank=0, at=20.0, problem="Connection closed by peer")
    write_end(tmp_path, rank=1, at=10.0, problem="what broke")
    for number in range(3):
        rank.log_of(tmp_path, number).write_text("".join(f"line {k} of {number}\n" for k in range(40)))
    said = str(launch._failure(tmp_path, codes, 3))
    assert said.startswith(expected)
    failed = next(iter(codes)) if codes != {0: 1} else 1
    assert said.endswith(f"  line 39 of {failed}")
    assert said.count("\n  line") == launch.SHOWN_LINES


def test_a_process_that_said_nothing_is_named_by_its_exit_code(tmp_path: Path) -> None:
    assert "process 1 of the 2 that train together ended with exit code 3" in str(launch._failure(tmp_path, {1: 3}, 2))


def test_notes_of_an_earlier_start_are_cleared(tmp_path: Path) -> None:
    write_end(tmp_path, rank=0, at=1.0, stopped=True)
    assert [end.stopped for end in rank.ends_in(tmp_path)] == [True]
    rank.clear_ends(tmp_path)
    assert rank.ends_in(tmp_path) == []


def test_one_process_trains_by_itself(tmp_path: Path) -> None:
    def body(word: str, place: Place) -> dict[str, int]:
        return {word: os.getpid()}

    assert train_by(1, body, "me", place=place_in(tmp_path), logs=tmp_path / "logs") == {"me": os.getpid()}
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(("there", "told"), [(0, "torch sees none"), (1, "torch sees 1")])
def test_more_gpus_than_there_are_are_refused(there: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    check_gpus(Machine(gpus=2, device="cpu"))  # two processes
    check_gpus(Machine(gpus=1))
    for device in ("auto", "cuda"):
        with pytest.raises(ConfigError, match=f"2 GPUs are asked for .*{told}; .*machine.device to cpu"):
            check_gpus(Machine(gpus=2, device=device))


def test_several_gpus_and_one_by_its_number_are_refused() -> None:
    with pytest.raises(ValueError, match='gpus is 2, but device "cuda:1" is one GPU'):
        Machine(gpus=2, device="cuda:1")


@pytest.mark.parametrize("name", ["run", "pretrain", "distill"])
def test_the_option_asks_for_processes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(
        recipe_of(
            '[student]\nmodel = "ViT-B-16"\n[[teachers]]\nname = "one"\nmodel = "a:b"\n[evaluate]\ncards = ["a.toml"]\n'
        )
    )
    asked = []
    for place in ("mmkd.pipeline.work.work_all", "mmkd.pipeline.work.work_one"):
        monkeypatch.setattr(place, lambda run, *_: asked.append(run.recipe.machine.gpus))
    monkeypatch.chdir(tmp_path)
    for options in (["--gpus", "3"], [], ["--gpus", "3", "--set", "machine.gpus=2"]):
        CliRunner().invoke(app, [name, "mine.toml", *options], catch_exceptions=False)
    assert asked == [3, 1, 2]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"torchrun started several processes, and machine\.gpus is 3"):
        CliRunner().invoke(app, [name, "mine.toml", "--gpus", "3"], catch_exceptions=False)
