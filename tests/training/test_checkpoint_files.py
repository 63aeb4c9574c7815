"""What of a training stays on the disk: the last checkpoints, the best weights, and whatever a full disk lets stay."""

import errno
import itertools
import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmkd.errors import DataError, TrainingError
from mmkd.training import loop
from mmkd.training.records.metrics_log import MetricsLog, read_metrics
from mmkd.training.validate import Validation
from short_runs import WEIGHTS, same


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `full` says of a file's name and its folder is not written for lack of space."""
    held = SimpleNamespace(full=lambda name, folder: False, refused=[])
    fsync, append = os.fsync, MetricsLog._append

    def refuse(name: str, folder: Path) -> None:
        if held.full(name, folder):
            held.refused.append(name)
            raise OSError(errno.EDQUOT if len(held.refused) % 2 else errno.ENOSPC, "No space left on device")

    def limited(descriptor: int) -> None:
        draft = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        refuse(draft.name.removeprefix(".").rsplit(f".{socket.gethostname()}", 1)[0], draft.parent)
        fsync(descriptor)

    def appended(self: MetricsLog, line: str) -> None:
        refuse(self.path.name, self.path.parent)
        append(self, line)

    monkeypatch.setattr(os, "fsync", limited)
    monkeypatch.setattr(MetricsLog, "_append", appended)
    return held


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def pair(*stems: str) -> list[str]:
    return sorted(f"{stem}.{ending}" for stem in stems for ending in ("json", "safetensors"))


def test_a_full_disk_makes_room_or_stops_with_what_stays(
    train: Callable[..., Path], disk: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = 2
    disk.full = lambda name, folder: name.startswith("step-") and len(list(folder.glob("step-*.json"))) >= limit
    train("room", checkpoint_every=2, keep_last=3)
    assert disk.refused
    assert "dropping the older checkpoints" in capsys.readouterr().out
    limit = 1
    with pytest.raises(TrainingError, match=r"checkpoint of step 4 could not .*step-00000002 stays.*Make room"):
        train("stop", checkpoint_every=2)
    assert names(tmp_path / "stop") == pair("step-00000002")  # no draft is left
    limit = 10
    assert same(train("stop", checkpoint_every=2), train("whole"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("best-", r"the best weights, of step \d+, could not be written"),
        ("metrics.jsonl", r"metrics.jsonl could not be written"),
        ("skipped.jsonl", r"skipped.jsonl could not be written"),
        (WEIGHTS, r"the student could not be written"),
    ],
)
def test_whatever_a_full_disk_refuses_gets_room_or_stops_the_run(
    file: str,
    told: str,
    train: Callable[..., Path],
    disk: Any,
    bad_at: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rising = itertools.count()  # each validation is the best so far
    monkeypatch.setattr(Validation, "score", lambda *_: float(next(rising)))
    bad_at(8)
    settings = {"validate_every": 4, "select": "best", "checkpoint_every": 3, "on_nonfinite": "skip"}
    whole = train("whole", **settings)

    def full(name: str, folder: Path) -> bool:
        held = len(list((tmp_path / run / "checkpoints").glob("step-*.json")))
        return folder.is_relative_to(tmp_path / run) and name.startswith(file) and held >= limit

    disk.full, run, limit = full, "room", 2
    assert same(train(run, **settings), whole)
    assert disk.refused
    run, limit = "stop", 1  # nothing is to be had from dropping all but one
    with pytest.raises(TrainingError, match=rf"{told}.*step-0000000\d stays.*Make room and run the same command again"):
        train(run, **settings)
    assert not list((tmp_path / run).rglob(".*"))
    limit = 9
    assert same(train(run, **settings), whole)
    assert [r["loss"] for r in read_metrics(tmp_path / run / "metrics.jsonl")] == [
        r["loss"] for r in read_metrics(whole / "metrics.jsonl")
    ]


def test_other_errors_of_writing_are_not_taken_for_a_full_disk(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        train("run")


def test_the_last_checkpoints_and_the_best_weights_are_kept(
    train: Callable[..., Path], killed_at: Any, tmp_path: Path
) -> None:
    killed_at(9)
    with pytest.raises(KeyboardInterrupt):
        train("run", checkpoint_every=2, keep_last=3)
    assert names(tmp_path / "run") == pair("step-00000004", "step-00000006", "step-00000008")
    with pytest.raises(KeyboardInterrupt):
        train("best", checkpoint_every=4, keep_last=1, validate_every=2, select="best")
    scores = {
        int(r["step"]): r["val_percentile"]
        for r in read_metrics(tmp_path / "best" / "metrics.jsonl")
        if r["step"] in (2, 4, 6, 8)
    }
    best = max(scores, key=lambda step: (scores[step], -step))
    assert names(tmp_path / "best") == pair(f"best-{best:08d}", "step-00000008")


def test_damaged_best_weights_are_sought_anew(
    train: Callable[..., Path], killed_at: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"validate_every": 4, "select": "best", "checkpoint_every": 5}
    killed_at(6)
    with pytest.raises(KeyboardInterrupt):
        train("run", **settings)
    (best,) = (tmp_path / "run" / "checkpoints").glob("best-*.safetensors")
    best.write_bytes(best.read_bytes()[:-1])
    killed_at(None)
    train("run", **settings)
    shown = capsys.readouterr().out
    assert "the best weights, of step 4, are damaged" in shown
    scores = {
        int(r["step"]): r["val_percentile"]
        for r in read_metrics(tmp_path / "run" / "metrics.jsonl")
        if "val_percentile" in r
    }
    assert f"after step {8 if scores[8] >= scores[12] else 12} are taken" in shown


def test_best_weights_damaged_at_the_end_are_said_and_the_same_command_mends_it(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = {"validate_every": 6, "select": "best"}
    publish = loop.load_best

    def spoilt(folder: Path, step: int) -> Any:
        path = folder / f"best-{step:08d}.safetensors"
        path.write_bytes(b"")
        return publish(folder, step)

    monkeypatch.setattr(loop, "load_best", spoilt)
    with pytest.raises(DataError, match=r"best weights are damaged .* same command"):
        train("run", **settings)
    monkeypatch.setattr(loop, "load_best", publish)
    train("run", **settings)
    assert (tmp_path / "run" / WEIGHTS).is_file()
