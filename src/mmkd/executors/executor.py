"""What a stage sees of an executor, and what an engine has to provide to be one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from mmkd.executors.plan import Plan
from mmkd.executors.unit import ONE, Function, Outcome, Resources, Unit


class Executor(Protocol):
    """Has units done. No stage knows which executor it works with."""

    def map(
        self, units: Sequence[Unit], function: Function, folder: Path, resources: Resources = ONE
    ) -> Iterator[Outcome]:
        """What becomes of each unit whose file is missing, as it is settled; the free worker takes the next one.

        folder: for the notes of workers and drivers (`plan.notes_of`), on a file system that all of them share; gone
        when all is done. A unit that fails three times does not keep the others from being done; `failures.check`
        raises an error that names the failed ones. The caller may be killed and call again at any time: a unit that is
        done is never done again, and none is done by two workers while their leases are fresh.
        """
        ...


class Worker(Protocol):
    """A process that an engine has started, or will start, to call `work.work`."""

    @property
    def name(self) -> str:
        """As `Crew.start` was given it."""
        ...

    def is_alive(self) -> bool:
        """Whether it may still work, now or later; also while it waits for a machine. False only when it is certain."""
        ...

    @property
    def was_taken(self) -> bool:
        """Of one that has ended: whether its machine was lost or taken away, for which its unit is not to blame."""
        ...

    def end(self) -> None:
        """End it, if it has not ended; returns at once or soon."""
        ...


class Crew(Protocol):
    """What an engine provides; `drive.drive` does the rest.

    size: workers at a time, at least 1.
    """

    @property
    def size(self) -> int: ...

    def start(self, plan: Plan, names: Sequence[str]) -> Sequence[Worker]:
        """Have a worker call `work.work(plan, name, number / len(names))` for each name, number its place in `names`.

        Called at first with `size` names or fewer, and again, with new names, while there is work for workers that
        have ended. Returns without waiting for them.
        """
        ...
