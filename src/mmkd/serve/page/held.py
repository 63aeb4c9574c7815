"""Pictures of open pages, in memory: each user's own, for some minutes, within a budget."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mmkd.serve.page.uploads import Upload

KEPT_S = 600.0
BUDGET_BYTES = 512_000_000


@dataclass(frozen=True)
class _Entry:
    uploads: list[Upload]
    until: float

    @property
    def size(self) -> int:
        return sum(len(one.data) for one in self.uploads)


class Held:
    """Uploads by the page and the place in it where they were dropped. Over the budget the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, budget: int = BUDGET_BYTES) -> None:
        self._clock, self._budget = clock, budget
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, page: str, place: str, uploads: list[Upload]) -> None:
        with self._lock:
            self._entries.pop((page, place), None)
            self._entries[page, place] = _Entry(uploads, self._clock() + KEPT_S)
            self._forget()

    def get(self, page: str, place: str) -> list[Upload]:
        """Empty where there is none, or none any more."""
        with self._lock:
            self._forget()
            entry = self._entries.get((page, place))
            return entry.uploads if entry else []

    def drop(self, page: str, place: str = "") -> None:
        """What was dropped in one place of a page, or all that it has."""
        with self._lock:
            for key in [key for key in self._entries if key[0] == page and place in ("", key[1])]:
                del self._entries[key]

    def _forget(self) -> None:
        now = self._clock()
        size = sum(entry.size for entry in self._entries.values())
        for key, entry in list(self._entries.items()):
            if entry.until < now or size > self._budget:
                size -= entry.size
                del self._entries[key]
