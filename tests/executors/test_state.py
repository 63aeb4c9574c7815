"""What `mmkd runs` says of work that is handed out: from files, also damaged ones."""

import itertools
import json
import os
import threading
from pathlib import Path

from toy_units import act, units_in

from mmkd.commands.runs import _units_of_ablations, units_lines
from mmkd.executors.attempts import add_attempt
from mmkd.executors.drive import Board
from mmkd.executors.local import LocalExecutor
from mmkd.executors.plan import NOTES, UNITS, Plan, notes_of, overwrite_note, read_note, remove_notes, write_note
from mmkd.executors.state import WorkerLine, units_beside
from mmkd.folders.leases import take
from mmkd.pipeline.status import RunState


def test_units_are_done_running_or_failed_by_worker(tmp_path: Path) -> None:
    plan = Plan(units_in(tmp_path, ["go"] * 5), act, notes_of(tmp_path / "corpus.partial", "filter"))
    assert plan.folder == tmp_path / NOTES / "corpus-filter"
    Board(plan)
    plan.units[0].done.touch()
    for _ in range(3):
        add_attempt(plan, plan.units[1], "one", "worse\nand more", "DataError")
    add_attempt(plan, plan.units[2], "one", "bad")  # will be tried again
    lease = take(plan.lease(plan.units[3]), "two")
    assert lease is not None
    for name, unit, done in (("one", "4", 1), ("two", "3", 0)):
        state = {"name": name, "machine": "m", "process": os.getpid(), "unit": unit, "done": done, "failed": 0}
        write_note(plan.worker(name), state)
    (found,) = units_beside(tmp_path)
    assert (found.name, found.total, found.done, found.running) == ("corpus-filter", 5, 1, 1)
    assert found.failed == {"1": "worse\nand more"}
    assert found.workers == [WorkerLine("one", "", 1, 0), WorkerLine("two", "3", 0, 0)]  # the first one is gone
    assert units_lines(RunState("here", "here", units=[found])) == [
        "here, corpus-filter: 1 of 5 units done, 1 running, 1 failed",
        "  one: 1 done",
        "  two: 0 done, at work on 3",
        "  failed: 1: worse",
    ]
    (shown,) = _units_of_ablations([tmp_path])  # as the folder that an ablation lies in
    assert (shown.folder, list(shown.units)) == (str(tmp_path), [found])
    lease.release()


def test_damaged_notes_are_no_units(tmp_path: Path) -> None:
    notes = tmp_path / NOTES / "corpus"
    notes.mkdir(parents=True)
    (notes / "units.json").write_text(json.dumps({"units": [["a"], 3, ["a", "b", "c.done"]]}))
    (notes / "a.lease").write_bytes(b"\xff")
    (notes / "one.worker").write_text('{"name": "one", "done": "many"}')
    (notes / "two.worker").write_text("[")
    (found,) = units_beside(tmp_path)
    assert (found.total, found.done, found.running, found.failed) == (1, 0, 0, {})
    assert found.workers == [WorkerLine("one", "", 0, 0)]
    assert list(units_beside(tmp_path / "nowhere")) == []


def test_what_a_worker_of_a_killed_driver_still_writes_brings_no_notes_back(tmp_path: Path) -> None:
    folder, over = notes_of(tmp_path / "corpus"), threading.Event()

    def write() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            overwrite_note(folder / f"{number % 100}.worker", {"done": number})

    writers = [threading.Thread(target=write) for _ in range(3)]
    for one in writers:
        one.start()
    for _ in range(30):
        folder.mkdir(parents=True)
        while not read_note(folder / "7.worker"):
            pass
        remove_notes(folder)
        assert not folder.parent.exists()
    over.set()
    for one in writers:
        one.join()


def test_notes_that_a_killed_driver_was_removing_are_removed_and_shown_to_nobody(tmp_path: Path) -> None:
    folder = notes_of(tmp_path / "corpus")
    removed, other = folder.with_name(".corpus.there-1.tmp"), notes_of(tmp_path / "features")
    for path in (removed, other):
        path.mkdir(parents=True)
        write_note(path / UNITS, {"units": []})
    assert [one.name for one in units_beside(tmp_path)] == ["features"]
    remove_notes(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["features"]


def test_notes_of_work_that_others_have_finished_go_with_the_next_call(tmp_path: Path) -> None:
    units, folder = units_in(tmp_path, ["go"] * 2), notes_of(tmp_path / "corpus")
    Board(Plan(units, act, folder))
    assert folder.is_dir()
    for unit in units:
        unit.done.touch()
    assert list(LocalExecutor(2).map(units, act, folder)) == []
    assert not folder.parent.exists()
