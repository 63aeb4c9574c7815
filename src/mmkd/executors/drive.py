"""A driver: sees that there are workers while there is work, breaks the leases of lost ones, and tells what is settled.

All that it knows of the work it reads from files, so that it can be killed and started again.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from mmkd.errors import DataError
from mmkd.executors.attempts import DIED, add_attempt, outcome_of
from mmkd.executors.executor import Crew, Worker
from mmkd.executors.plan import FAILED, LEASE, UNITS, Plan, remove_notes, write_note
from mmkd.executors.unit import Outcome, Unit
from mmkd.executors.work import has_touched_a_unit
from mmkd.folders.leases import Watch

_numbers = count(1)
SHORTEST_S, LONGEST_S = 0.02, 10.0
SHARE = 0.05  # of the driver's time that goes into looking
MOST_IN_VAIN = 5  # workers in a row that end without having touched a unit


def drive(plan: Plan, crew: Crew, sleep: Callable[[float], None] = time.sleep) -> Iterator[Outcome]:
    """The outcomes of the plan's units as they are settled. Workers that still run at the end, also of a caller that
    stops early, are ended. Raises DataError where workers end without having touched a unit."""
    board = Board(plan)
    hands = _Hands(plan, crew)
    try:
        while board.open:
            start = time.perf_counter()
            yield from board.settled()
            if not board.open:
                break
            board.break_leases(hands.lost())
            hands.fill(board.free())
            sleep(min(LONGEST_S, max(SHORTEST_S, (time.perf_counter() - start) / SHARE)))
    except DataError:  # of workers that end in vain: their logs say why
        board.has_failed = True
        raise
    finally:
        hands.end()
        board.close()


class Board:
    """The units of a plan as their files have them. open: id -> unit that is not settled. has_failed: whether the notes
    are kept at the end."""

    def __init__(self, plan: Plan) -> None:
        """Begin: a new driver gives every unit new attempts."""
        self.plan = plan
        self.open = {unit.id: unit for unit in plan.units}
        self._watch = Watch(plan.pace)
        self.has_failed = False
        plan.folder.mkdir(parents=True, exist_ok=True)
        for unit in plan.units:
            plan.failed(unit).unlink(missing_ok=True)
        # for who looks on, see state.py
        listed = [[unit.id, unit.label, os.path.relpath(unit.done, plan.folder)] for unit in plan.units]
        write_note(plan.folder / UNITS, {"units": listed})

    def settled(self, among: Sequence[Unit] | None = None) -> Iterator[Outcome]:
        """Outcomes since the last call. among: of these units alone, without a look at the others."""
        noted = self._noted(FAILED)
        for unit in list(self.open.values()) if among is None else [one for one in among if one.id in self.open]:
            outcome = Outcome(unit) if unit.is_done else outcome_of(self.plan, unit) if unit.id in noted else None
            if outcome is not None:
                del self.open[unit.id]
                self.has_failed |= bool(outcome.problem)
                yield outcome

    def break_leases(self, lost: Mapping[str, bool]) -> None:
        """Free the units of workers that are known to be lost, and those whose lease is stale.

        lost: name of a worker -> whether its machine was taken away.
        """
        for unit in [self.open[name] for name in self._noted(LEASE)]:
            lease = self.plan.lease(unit)
            holder = next((found for who in lost if (found := self._watch.break_of(lease, who))), None)
            holder = holder or self._watch.break_stale(lease)
            if holder and not unit.is_done:
                add_attempt(
                    self.plan,
                    unit,
                    str(holder["who"]),
                    f"{holder['who']}: {DIED}; its log: {self.plan.log(str(holder['who']))}",
                    was_taken=lost.get(str(holder["who"]), False),
                )

    def free(self) -> int:
        """How many units are open and held by nobody."""
        return len(self.open) - len(self._noted(LEASE))

    def close(self) -> None:
        """Remove the notes; all stay where a unit failed, and where somebody else is at work."""
        if not self.has_failed and not self._noted(LEASE):
            remove_notes(self.plan.folder)

    def _noted(self, ending: str) -> set[str]:
        """Ids of open units that have a note of this kind."""
        try:
            names = os.listdir(self.plan.folder)
        except FileNotFoundError:  # another driver has found everything done
            return set()
        return {name.removesuffix(ending) for name in names if name.endswith(ending)} & self.open.keys()


@dataclass
class _Hands:
    """The workers that this driver has started."""

    plan: Plan
    crew: Crew
    alive: dict[str, Worker] = field(default_factory=dict)
    in_vain: int = 0

    def lost(self) -> dict[str, bool]:
        """Names of those that have ended since the last call, and whether their machine was taken away."""
        ended = [name for name, worker in self.alive.items() if not worker.is_alive()]
        taken = {name: self.alive.pop(name).was_taken for name in ended}
        for name in ended:
            has_worked = has_touched_a_unit(self.plan, name) or taken[name]
            self.in_vain = 0 if has_worked else self.in_vain + 1
        if self.in_vain >= MOST_IN_VAIN:
            raise DataError(
                f"{self.in_vain} workers in a row ended before they had begun; {self.plan.log(ended[-1])} has what the "
                "last one printed, if it came so far; mend the reason and run the same command again"
            )
        return taken

    def fill(self, free: int) -> None:
        """Have as many at work as the crew has room for and units wait for."""
        lacking = min(self.crew.size - len(self.alive), free)
        if lacking > 0:
            names = [f"{socket.gethostname()}-{os.getpid()}-{next(_numbers)}" for _ in range(lacking)]
            self.alive |= {worker.name: worker for worker in self.crew.start(self.plan, names)}

    def end(self) -> None:
        for worker in self.alive.values():
            worker.end()
