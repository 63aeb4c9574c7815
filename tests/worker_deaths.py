"""kill -9 for workers of an executor, while they work."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmkd.executors.plan import read_note


@contextmanager
def killing(notes: Path, number: int) -> Iterator[list[int]]:
    """While the block runs, the first workers that write notes below the folder are killed; their processes."""
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=_kill, args=(notes, killed, number, over))
    killer.start()
    try:
        yield killed
    finally:
        over.set()
        killer.join()


def _kill(notes: Path, killed: list[int], number: int, over: threading.Event) -> None:
    while len(killed) < number and not over.wait(0.005):
        for path in notes.rglob("*.worker"):
            process = read_note(path).get("process")
            if process and process not in (os.getpid(), *killed) and len(killed) < number:
                killed.append(process)
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
