"""`mmkd embed` and `mmkd label` by workers of an executor: the bytes of one process, also after kills."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus_samples import png
from typer.testing import CliRunner

from deaths import life
from mmkd.cli import app
from mmkd.commands.executor_options import executor_for
from mmkd.errors import ConfigError, DataError, ModelError
from mmkd.executors.local import LocalExecutor, Processes, work_here
from mmkd.executors.plan import Plan
from mmkd.executors.resident import release
from mmkd.executors.unit import Outcome
from mmkd.inference import blocks, hand_out
from mmkd.inference.blocks import Block, SourceOptions, Task, embed_blocks, plan_of
from mmkd.inference.embed import embed
from mmkd.inference.hand_out import Listing, Work, Workers, embed_unit, own_threads, workers_of
from mmkd.inference.model import open_model
from worker_deaths import killing

PICTURES = 23
pytestmark = pytest.mark.usefixtures("small_blocks")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(PICTURES):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / "3.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> Iterator[None]:
    yield
    release()


def units(task: Task, folder: Path, model: str, most: int, monkeypatch: pytest.MonkeyPatch) -> list[Work]:
    """The payloads of all units, of at most so many blocks."""
    monkeypatch.setattr(hand_out, "UNITS", 1)
    monkeypatch.setattr(hand_out, "MOST_BLOCKS", most)
    workers = Workers(LocalExecutor(2), model, "cpu", 1, folder.parent / "notes")
    return [workers._unit(task, run, folder, "key").payload for run in hand_out._in_rows(plan_of(task))]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def test_units_in_any_order_write_the_files_of_one_process(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(model, "cpu")
    task = Task(source, SourceOptions(), opened, opened.digest)
    embed_blocks(task, plan_of(task), tmp_path / "one", ["cpu"], 1)
    (tmp_path / "two").mkdir()
    work = units(Task(source, SourceOptions(), model, opened.digest), tmp_path / "two", model, 2, monkeypatch)
    assert [len(one.blocks) for one in work] == [2, 2, 2]
    listed: list[int] = []
    blocks_of = Task.blocks

    def counted(self: Task) -> Any:
        listed.append(0)
        return blocks_of(self)

    monkeypatch.setattr(Task, "blocks", counted)
    for one in (work[0], work[2], work[1]):
        embed_unit(one)
    release()
    assert files(tmp_path / "two") == files(tmp_path / "one")
    assert len(listed) == 2  # on from the first unit to the last, then from the beginning
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").iterdir()}
    embed_unit(work[0])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "two").iterdir()} == before


def test_a_unit_that_was_cut_off_is_not_done_and_goes_on(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_model(model, "cpu")
    (tmp_path / "two").mkdir()
    task = Task(source, SourceOptions(), model, opened.digest)
    work = units(task, tmp_path / "two", model, 3, monkeypatch)[0]
    unit = Workers(LocalExecutor(2), model, "cpu", 1, tmp_path / "notes")._unit(
        task, work.blocks, tmp_path / "two", "key"
    )
    written: list[Block] = []
    write = blocks._write

    def dying(block: Block, *given: Any) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(block)
        write(block, *given)

    with monkeypatch.context() as patch:
        patch.setattr(blocks, "_write", dying)
        with pytest.raises(KeyboardInterrupt):
            embed_unit(work)
    assert len(files(tmp_path / "two")) == 1
    assert not unit.is_done
    release()
    embed_unit(work)
    assert unit.is_done
    assert len(files(tmp_path / "two")) == 3


def test_a_source_or_a_model_that_has_changed_is_told(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = open_model(model, "cpu").digest
    (tmp_path / "two").mkdir()
    work = units(Task(source, SourceOptions(), model, digest), tmp_path / "two", model, 2, monkeypatch)
    (source / "20.png").write_bytes(png(99) + b" ")
    with pytest.raises(DataError, match="changed while it was read"):
        embed_unit(work[-1])
    release()
    other = units(Task(source, SourceOptions(), model, "0" * 64), tmp_path / "two", model, 2, monkeypatch)
    with pytest.raises(ModelError, match=f"has the digest {digest[:12]} here, 000000000000 where the command runs"):
        embed_unit(other[0])


def test_a_listing_begins_anew_only_for_what_lies_before(source: Path, model: str) -> None:
    listing = Listing(Task(source, SourceOptions(), model, "x"))
    assert [next(listing.since(number))[0].number for number in (2, 4, 1, 5)] == [2, 4, 1, 5]
    assert [block.number for block, _ in listing.since(3)] == [3, 4, 5]


def test_units_leave_enough_for_all_workers() -> None:
    plan = [Block(number, str(number), 4) for number in range(1000)]
    for count, size in ((0, 1), (10, 1), (64, 1), (130, 2), (1000, 15)):
        rows = hand_out._in_rows(plan[:count])
        assert [block for row in rows for block in row] == plan[:count]
        assert {len(row) for row in rows[:-1]} <= {size}
    many = [Block(number, str(number), 4) for number in range(5000)]
    assert max(map(len, hand_out._in_rows(many))) == hand_out.MOST_BLOCKS


def test_threads_are_those_of_the_scheduler_or_a_share_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for said, expected in (("3", 3), ("64", 8), ("", 8), ("0", 8), ("many", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert own_threads() == expected
    shared = workers_of(LocalExecutor(3), "m", "cpu", 0, tmp_path / "v.parquet")
    assert shared is not None
    assert (shared.threads, shared.notes) == (2, tmp_path / ".units" / "v.parquet-embed")
    assert workers_of(LocalExecutor(1), "m", "cpu", 0, tmp_path / "v.parquet") is None
    assert workers_of(None, "m", "cpu", 0, tmp_path / "v.parquet") is None


def test_other_ways_to_several_processes_are_refused(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"--devices cpu,cpu starts a process for each, and --executor workers"):
        embed(source, model, tmp_path / "v.parquet", devices=["cpu", "cpu"], executor=LocalExecutor(2))
    with pytest.raises(ConfigError, match="need the name or folder of a model"):
        embed(source, open_model(model, "cpu"), tmp_path / "v.parquet", executor=LocalExecutor(2))
    with pytest.raises(ConfigError, match="unknown key 'machine'"):
        executor_for(["machine.device=cpu"])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun has started 2 processes"):
        executor_for(["executor.workers=2"])
    assert executor_for([]) is None


def run(*words: Any) -> str:
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_commands_by_two_workers_write_the_bytes_of_one(
    source: Path, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This process does the units; processes do them where they are killed, below."""
    driven: list[int] = []

    def drive(plan: Plan, crew: Processes) -> Iterator[Outcome]:
        driven.append(crew.size)
        return work_here(plan)

    monkeypatch.setattr("mmkd.executors.local.drive", drive)
    two = ("--executor", "local", "--workers", 2)
    for name in ("v.parquet", "v.npy"):
        for folder, options in (("one", ("--workers", 1)), ("two", two)):
            (tmp_path / folder).mkdir(exist_ok=True)
            run("embed", source, "--model", model, "--devices", "cpu", "--out", tmp_path / folder / name, *options)
    for folder, options in (("one", ("--workers", 1)), ("two", two)):
        out = ("--out", tmp_path / folder / "l.csv", "--classes", "clear,mass", "--device", "cpu")
        run("label", source, "--model", model, *out, *options)
    one, two_ = (sorted(path for path in (tmp_path / name).iterdir()) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two_]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two_]
    assert driven == [2, 2, 2]
    assert {path.name for path in one} >= {"v.parquet", "v.npy", "v.ids.csv", "v.json", "v.rejected.csv", "l.csv"}


@pytest.mark.slow
def test_killed_workers_and_a_killed_driver_leave_the_same_bytes(source: Path, model: str, tmp_path: Path) -> None:
    out, parts = tmp_path / "v.parquet", tmp_path / ".v.parquet.parts"
    embed(source, model, tmp_path / "whole.parquet", devices=["cpu"])

    def be_killed() -> None:
        def watch() -> None:
            while len(list(parts.glob("*.arrow"))) < 2:
                time.sleep(0.002)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()
        embed(source, model, out, devices=["cpu"], executor=LocalExecutor(2))

    assert life(be_killed, None) == -signal.SIGKILL
    assert len(list(parts.glob("*.arrow"))) >= 2
    with killing(tmp_path, 1) as killed:
        found = embed(source, model, out, devices=["cpu"], executor=LocalExecutor(2))
    assert len(killed) == 1
    assert found.reused >= 8
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not parts.exists()
    assert not (tmp_path / ".units").exists()
