"""Leases: who works on what, on file systems without locks, between machines whose clocks do not agree.

A lease is a file that its holder changes at each beat: a counter in it goes up. Who waits for it compares what the
file holds with what it held before, by the own monotonic clock; no time of another machine is ever read. A lease that
has not changed for longer than `Pace.patience_s` is stale, and is broken by a rename, which one process alone can win.
It is made by a hard link to a private file, which NFS does at once for all clients (open(2), O_EXCL).

Two processes may hold a lease for a moment where one was stopped for longer than the patience, or where three break and
take the same stale lease within the microseconds of a rename: what is written below leases has to bear that, as files
that appear whole do.
"""

import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

_numbers = count()
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
IDLE_S = 60.0  # the thread looks up at least this often
WIDTH = 12  # digits of the counter: a beat changes the file's content and never its size


@dataclass(frozen=True)
class Pace:
    """beat_s: seconds between two beats of a holder. patience_s: seconds without one after which a lease is stale."""

    beat_s: float = 5.0
    patience_s: float = 60.0


PACE = Pace()


@cache
def place() -> str:
    """This machine since it was started, and this container of it: processes of equal places see each other."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _started(process: int) -> str:
    """When a process began, in ticks since boot: tells it from a later one of the same number. "" where it cannot be
    seen, and "ended" where it has and nobody has asked for its exit code."""
    try:
        facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "ended" if facts[0] in "ZX" else facts[19]
    except (OSError, IndexError):
        return ""


class Lease:
    """A lease that this process holds. One thread beats for all of a process's leases until they are released."""

    def __init__(self, path: Path, stream: int, head: bytes, pace: Pace) -> None:
        self.path, self.every_s = path, pace.beat_s
        self.due = time.monotonic() + pace.beat_s
        self._stream, self._head, self._beats = stream, head, 0
        self._lock = threading.Lock()
        _beats.add(self)

    def beat(self) -> None:
        """Say that the holder lives. Goes to this process's own file: a lease that was broken is not taken back."""
        with self._lock:
            self.due = time.monotonic() + self.every_s
            if self._stream < 0:
                return
            self._beats += 1
            with suppress(OSError):  # a full disk or a server that is away for a while: the next beat tries again
                os.pwrite(self._stream, b"%s%0*d\n" % (self._head, WIDTH, self._beats), 0)
                os.fsync(self._stream)  # over a network, what others see

    def is_held(self) -> bool:
        """Whether nobody has broken it, and it was not released."""
        try:
            return os.path.samestat(os.fstat(self._stream), self.path.stat())
        except OSError:
            return False

    def release(self) -> None:
        """Give it back, if it is still held."""
        _beats.remove(self)
        with self._lock:
            if self.is_held():
                self.path.unlink(missing_ok=True)
            stream, self._stream = self._stream, -1
            os.close(stream)


class _Beats:
    """The thread that beats."""

    def __init__(self) -> None:
        self._leases: set[Lease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        with self._changed:
            self._leases.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._changed.notify()

    def remove(self, lease: Lease) -> None:
        with self._changed:
            self._leases.discard(lease)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = [lease for lease in self._leases if lease.due <= now]
                if not due:
                    self._changed.wait(min((lease.due - now for lease in self._leases), default=IDLE_S))
            for lease in due:
                lease.beat()


def _forget() -> None:
    """In a process that was forked: the thread and the leases are its parent's."""
    global _beats
    _beats = _Beats()


_beats = _Beats()
os.register_at_fork(after_in_child=_forget)


def take(path: Path, who: str, pace: Pace = PACE) -> Lease | None:
    """The lease, or None where somebody has it, stale or not. who: the holder's name, in the file.

    Raises OSError where its folder is missing or cannot be written to.
    """
    own = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{next(_numbers)}.tmp")
    holder = {"who": who, "place": place(), "process": os.getpid(), "started": _started(os.getpid())}
    head = f"{json.dumps(holder)}\n".encode()
    stream = os.open(own, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
    try:
        os.write(stream, b"%s%0*d\n" % (head, WIDTH, 0))
        is_ours = _linked(own, path, stream)
        if is_ours is None:  # no hard links here: the name itself is made, which one process alone can do
            os.close(stream)
            stream = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
            os.write(stream, b"%s%0*d\n" % (head, WIDTH, 0))
            is_ours = True
    except FileExistsError:
        return None
    except BaseException:
        with suppress(OSError):
            os.close(stream)
        raise
    finally:
        own.unlink(missing_ok=True)
    if not is_ours:
        os.close(stream)
        return None
    return Lease(path, stream, head, pace)


def _linked(own: Path, path: Path, stream: int) -> bool | None:
    """Whether the link is ours; None where the file system has none.

    Over a network the answer to a link that was made may be lost: the number of the file's names decides.
    """
    try:
        os.link(own, path)
        return True
    except OSError as error:
        if error.errno in NO_LINKS:
            return None
        if os.fstat(stream).st_nlink == 2:
            return True
        if isinstance(error, FileExistsError):
            return False
        raise


def holder_of(path: Path) -> dict[str, str | int]:
    """Who holds a lease: who, place, process, started. Empty where nobody does or it cannot be read."""
    return _parsed(beats_of(path) or b"")


def beats_of(path: Path) -> bytes | None:
    """What changes with each beat and each holder. None where there is no lease.

    Opening the file, unlike a look at its times, makes a network file system ask the server.
    """
    try:
        return path.read_bytes()
    except OSError:
        return None


def _parsed(content: bytes) -> dict[str, str | int]:
    try:
        found = json.loads(content.split(b"\n")[0])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Watch:
    """Tells stale leases from fresh ones, by looking at them again and again. clock: seconds, of this process alone."""

    def __init__(self, pace: Pace = PACE, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace, self._clock = pace, clock
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def break_stale(self, path: Path) -> dict[str, str | int] | None:
        """Break the lease if it is stale; its holder, if it was this call that broke it, else None.

        A holder on this machine whose process is gone needs no patience.
        """
        content = beats_of(path)
        if content is None:
            self._seen.pop(path, None)
            return None
        before, since = self._seen.get(path, (None, 0.0))
        if content != before:
            self._seen[path] = content, self._clock()
        elif self._clock() - since > self._pace.patience_s:
            return self._break(path, content)
        return self._break(path, content) if is_gone(_parsed(content)) else None

    def break_of(self, path: Path, who: str) -> dict[str, str | int] | None:
        """Break the lease if this holder has it, who is known to be gone; as `break_stale`."""
        content = beats_of(path)
        return self._break(path, content) if content and _parsed(content).get("who") == who else None

    def _break(self, path: Path, content: bytes) -> dict[str, str | int] | None:
        self._seen.pop(path, None)
        aside = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{next(_numbers)}.broken")
        try:
            os.rename(path, aside)
        except OSError:  # another one was faster, or the holder gave it back
            return None
        try:
            if aside.read_bytes() == content:
                return _parsed(content) or {"who": "somebody"}
            with suppress(OSError):  # a fresh one: another process broke the stale one and took it just before
                os.link(aside, path)
            return None
        finally:
            aside.unlink(missing_ok=True)


def is_gone(holder: dict[str, str | int]) -> bool:
    """Whether the holder is known to have ended: a process of this machine. False where it may live."""
    if not holder.get("place") or holder.get("place") != place():
        return False
    process = holder.get("process")
    if not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # of another user, who may hide when it began
        return False
    return bool(_started(process)) and _started(process) != holder.get("started")
