"""Units of work handed out to workers: how long until all are done. Pure arithmetic; nothing runs.

Letters: U units, W workers. Times in seconds.
"""

import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class Work:
    """seconds_U: of each unit on a worker of speed 1. model_U: what has to be resident for it, a number.

    load_s: to make another model resident. handout_s: to take a unit and to say that it is done.
    """

    seconds_U: np.ndarray
    model_U: np.ndarray
    load_s: float = 0.0
    handout_s: float = 0.0

    @property
    def ideal(self) -> float:
        """Seconds of all units on one worker of speed 1, each model loaded once."""
        return float(self.seconds_U.sum()) + self.load_s * len(np.unique(self.model_U))

    def split(self, parts: int) -> "Work":
        """The same work in units of a part of the size."""
        return replace(self, seconds_U=np.repeat(self.seconds_U / parts, parts), model_U=np.repeat(self.model_U, parts))


@dataclass
class Queue:
    """The units that nobody has yet, by model; within one, the longest comes first."""

    work: Work
    left: dict[int, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        for unit in np.argsort(-self.work.seconds_U, kind="stable").tolist():
            model = int(self.work.model_U[unit])
            self.left[model].append(unit)
            self.seconds[model] += float(self.work.seconds_U[unit])

    def take(self, resident: int | None) -> int | None:
        """The next unit for a worker: of its own model, or of the model with the most work left; None when all are
        taken."""
        if not self.left:
            return None
        model = resident if resident in self.left else max(self.left, key=lambda one: self.seconds[one])
        unit = self.left[model].popleft()
        self.seconds[model] -= float(self.work.seconds_U[unit])
        if not self.left[model]:
            del self.left[model]
        return unit


def dynamic(work: Work, speed_W: Sequence[float]) -> float:
    """Seconds until the last unit is done where the next free worker takes the next unit."""
    queue = Queue(work)
    free: list[tuple[float, int]] = [(0.0, worker) for worker in range(len(speed_W))]
    resident: list[int | None] = [None] * len(speed_W)
    end = 0.0
    while free:
        now, worker = heapq.heappop(free)
        unit = queue.take(resident[worker])
        if unit is None:
            continue
        now += _cost(work, unit, resident[worker], speed_W[worker])
        resident[worker] = int(work.model_U[unit])
        end = max(end, now)
        heapq.heappush(free, (now, worker))
    return end


def static(work: Work, speed_W: Sequence[float]) -> float:
    """The same where worker w has the units w, w + W, ... from the beginning, as ranks under torchrun have."""
    ends = [0.0]
    for worker, speed in enumerate(speed_W):
        now, resident = 0.0, None
        for unit in range(worker, len(work.seconds_U), len(speed_W)):
            now += _cost(work, unit, resident, speed)
            resident = int(work.model_U[unit])
        ends.append(now)
    return max(ends)


def _cost(work: Work, unit: int, resident: int | None, speed: float) -> float:
    load = work.load_s if resident != int(work.model_U[unit]) else 0.0
    return work.handout_s + (load + float(work.seconds_U[unit])) / speed
