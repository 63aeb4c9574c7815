"""How often a unit has failed, and why: notes that only the holder of its lease, or who broke that, writes."""

from dataclasses import asdict, dataclass
from pathlib import Path

from mmkd.executors.plan import MOST_ATTEMPTS, MOST_TAKEN, Plan, read_note, write_note
from mmkd.executors.unit import Outcome, Unit

DIED = "this worker ended, or was not heard of, while it had the unit; it may have been killed for lack of memory"


@dataclass(frozen=True)
class Attempts:
    """count: of failures since the driver began. problem: the last one's line. error: a class of `mmkd.errors`, ""
    where it is none that a user can mend. trace: the last traceback. worker: who failed last. is_final: nobody tries
    again. taken: how often the machine was lost or taken away during the unit, which is no failure of the unit until
    it is `MOST_TAKEN`, as a unit that breaks machines looks the same."""

    count: int = 0
    taken: int = 0
    problem: str = ""
    error: str = ""
    trace: str = ""
    worker: str = ""
    is_final: bool = False


def attempts_of(path: Path) -> Attempts:
    """From a unit's note; none where there is no note or it is damaged."""
    try:
        return Attempts(**read_note(path))
    except TypeError:
        return Attempts()


def add_attempt(plan: Plan, unit: Unit, worker: str, problem: str, error: str = "", trace: str = "",
                is_final: bool = False, was_taken: bool = False) -> Attempts:  # fmt: skip
    """Note a failure; the third is final. is_final: this one is, as trying again would not help. was_taken: the
    worker's machine was lost, or taken away."""
    before = attempts_of(plan.failed(unit))
    count, taken = before.count + (not was_taken), before.taken + was_taken
    is_final = is_final or count >= MOST_ATTEMPTS or taken >= MOST_TAKEN
    found = Attempts(count, taken, problem, error, trace, worker, is_final)
    write_note(plan.failed(unit), asdict(found))
    return found


def outcome_of(plan: Plan, unit: Unit) -> Outcome | None:
    """What became of the unit; None while it is not settled."""
    if unit.is_done:
        return Outcome(unit)
    found = attempts_of(plan.failed(unit))
    return Outcome(unit, found.problem, found.error, plan.failed(unit)) if found.is_final else None
