"""Leases: one holder at a time, whatever the clocks say; a lost one is broken once; where there are no locks, too."""

import errno
import multiprocessing
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from mmkd.errors import ConfigError
from mmkd.folders import leases, locks
from mmkd.folders.leases import Lease, Pace, Watch, beats_of, holder_of, take
from mmkd.folders.locks import is_owned, sole_owner

NEVER = Pace(beat_s=1e6, patience_s=10)
QUICK = Pace(beat_s=0.05, patience_s=0.6)


class Clock:
    """Seconds that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def taken(path: Path, who: str, pace: Pace = NEVER) -> Lease:
    lease = take(path, who, pace)
    assert lease is not None
    return lease


@pytest.fixture
def of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written from now on is by a machine that cannot be looked into."""
    monkeypatch.setattr(leases, "place", lambda: "elsewhere")


def test_a_lease_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "a.lease"
    first = taken(path, "first")
    assert take(path, "second", NEVER) is None
    assert holder_of(path)["who"] == "first"
    assert first.is_held()
    first.release()
    assert holder_of(path) == {}
    taken(path, "second").release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", [0.0, 1e9, -1e9])
def test_a_lease_is_stale_after_the_watchers_own_patience_and_never_while_it_beats(
    tmp_path: Path, start: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clocks of machines may differ by years: no time of the holder's is read, nor that of its file."""
    path, clock = tmp_path / "a.lease", Clock(start)
    with monkeypatch.context() as patched:
        patched.setattr(leases, "place", lambda: "elsewhere")
        lease = taken(path, "far")
    os.utime(path, (start + 1e10, start + 1e10))
    watch = Watch(NEVER, clock)
    for _ in range(5):  # each look comes late, and finds another beat
        clock.now += 9
        assert watch.break_stale(path) is None
        lease.beat()
    assert watch.break_stale(path) is None
    clock.now += 9
    assert watch.break_stale(path) is None
    clock.now += 2
    assert (watch.break_stale(path) or {})["who"] == "far"
    assert not lease.is_held()
    assert not path.exists()


def test_a_holder_that_lost_its_lease_does_not_take_it_back(tmp_path: Path) -> None:
    """It was stopped for long: its beats and its release go to a file that has no name any more."""
    path, clock = tmp_path / "a.lease", Clock(0)
    old, watch = taken(path, "old"), Watch(NEVER, clock)
    watch.break_stale(path)
    clock.now = 11
    assert watch.break_stale(path)
    new = taken(path, "new")
    before = beats_of(path)
    old.beat()
    assert beats_of(path) == before
    old.release()
    assert new.is_held()
    new.release()


def test_a_fresh_lease_in_the_place_of_a_stale_one_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two find the same lease stale; the other has broken and taken it just before this one's rename."""
    path, clock = tmp_path / "a.lease", Clock(0)
    stale, watch = taken(path, "stale"), Watch(NEVER, clock)
    watch.break_stale(path)
    clock.now = 11
    rename = os.rename
    fresh: list[Lease] = []

    def late(source: Path, target: Path) -> None:
        if not fresh:
            path.unlink()
            fresh.append(taken(path, "fresh"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert watch.break_stale(path) is None
    assert fresh[0].is_held()
    assert [one.name for one in tmp_path.iterdir()] == ["a.lease"]
    stale.release()
    assert fresh[0].is_held()
    fresh[0].release()


def test_a_stale_lease_is_broken_by_one_of_many(tmp_path: Path, of_another_machine: None) -> None:
    path, clock = tmp_path / "a.lease", Clock(0)
    lease, watches = taken(path, "far"), [Watch(NEVER, clock) for _ in range(8)]
    for watch in watches:
        watch.break_stale(path)
    clock.now = 11
    broken = []
    threads = [threading.Thread(target=lambda w=watch: broken.append(w.break_stale(path))) for watch in watches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found is not None for found in broken) == 1
    lease.release()


def test_a_dead_process_of_this_machine_is_known_at_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=lambda: (take(tmp_path / "a.lease", "dead"), os._exit(0))
    )
    process.start()
    process.join()
    assert (Watch(NEVER).break_stale(tmp_path / "a.lease") or {})["who"] == "dead"
    living = taken(tmp_path / "a.lease", "living")
    assert Watch(NEVER).break_stale(tmp_path / "a.lease") is None
    living.release()


def test_a_number_given_again_to_another_process_is_not_the_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = taken(tmp_path / "a.lease", "one")
    monkeypatch.setattr(leases, "_started", lambda process: "1")
    assert Watch(NEVER).break_stale(tmp_path / "a.lease")
    lease.release()


def test_the_answer_to_a_link_may_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS sends a request again; the second finds what the first has made."""
    link = os.link

    def answered_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", answered_twice)
    lease = taken(tmp_path / "a.lease", "one")
    assert lease.is_held()
    assert take(tmp_path / "a.lease", "two") is None
    lease.release()


def test_without_hard_links_there_is_one_holder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links")

    monkeypatch.setattr(os, "link", refused)
    lease = taken(tmp_path / "a.lease", "one")
    assert take(tmp_path / "a.lease", "two") is None
    assert holder_of(tmp_path / "a.lease")["who"] == "one"
    lease.beat()
    assert lease.is_held()
    lease.release()
    assert list(tmp_path.iterdir()) == []


def count_alone(folder: Path, place: str, start: float, rounds: int, slow_s: float) -> None:
    """A machine's process: takes the lease again and again, and notes where it was not alone. start: of its clock."""
    leases.place = lambda: place  # type: ignore[assignment]
    monotonic = time.monotonic
    time.monotonic = time.time = lambda: start + monotonic()  # type: ignore[assignment]
    for name in ("link", "rename", "open"):
        setattr(os, name, slow(getattr(os, name), slow_s))
    watch, done = Watch(QUICK), 0
    while done < rounds:
        watch.break_stale(folder / "a.lease")
        if lease := take(folder / "a.lease", f"{place} {os.getpid()}", QUICK):
            try:
                mark = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                (folder / f"{os.getpid()}-{done}.two").touch()
            else:
                os.close(mark)
                with (folder / "rounds").open("a") as stream:
                    stream.write(f"{place}\n")
                os.unlink(folder / "inside")
            lease.release()
            done += 1
        time.sleep(0.001)


def slow(call, seconds):  # type: ignore[no-untyped-def]
    def later(*given, **named):  # type: ignore[no-untyped-def]
        time.sleep(seconds)
        return call(*given, **named)

    return later


def test_processes_of_two_machines_with_skewed_clocks_on_a_slow_file_system_are_alone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    machines = [("one", 0.0), ("one", 0.0), ("two", -1e6), ("two", 1e6)]
    workers = [context.Process(target=count_alone, args=(tmp_path, *one, 12, 0.002)) for one in machines]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert Counter((tmp_path / "rounds").read_text().split()) == {"one": 24, "two": 24}
    assert list(tmp_path.glob("*.two")) == []


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def acquire(self: object, **named: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    monkeypatch.setattr(locks, "PACE", QUICK)


@pytest.mark.usefixtures("without_locks")
class TestWithoutLocks:
    def test_a_folder_has_one_owner(self, tmp_path: Path) -> None:
        assert not is_owned(tmp_path / "made")
        with sole_owner(tmp_path / "made"):
            assert is_owned(tmp_path / "made")
            with pytest.raises(ConfigError, match="another process is working on"), sole_owner(tmp_path / "made"):
                pass
        assert not is_owned(tmp_path / "made")

    def test_who_waits_comes_next(self, tmp_path: Path) -> None:
        order = []

        def second() -> None:
            with sole_owner(tmp_path / "made", wait=True):
                order.append("second")

        with sole_owner(tmp_path / "made"):
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.1)
            order.append("first")
        thread.join()
        assert order == ["first", "second"]

    def test_an_owner_of_another_machine_that_was_lost_is_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(leases, "place", lambda: "elsewhere")
            lost = taken(tmp_path / ".made.lease", "lost")
        start = time.monotonic()
        with sole_owner(tmp_path / "made"):
            assert not lost.is_held()
        assert time.monotonic() - start > QUICK.patience_s
        lost.release()
