"""SIGTERM, which schedulers send before they kill: it sets a flag that the loop reads."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """Whether the process has received SIGTERM."""

    received = False

    def receive(self, *_: Any) -> None:
        self.received = True


@contextmanager
def listen() -> Iterator[Interrupt]:
    """Catch SIGTERM while the context lasts; outside the main thread, where Python allows none, nothing is caught."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.signal(signal.SIGTERM, interrupt.receive)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGTERM, before)
