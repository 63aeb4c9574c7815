"""One error for all units that failed."""

from collections.abc import Iterable, Sequence

from mmkd.errors import ConfigError, DataError, MmkdError, ModelError, TrainingError
from mmkd.executors.unit import Outcome

SHOWN = 5
KINDS = {kind.__name__: kind for kind in (ConfigError, DataError, ModelError, TrainingError)}


def mendable(error: BaseException) -> str:
    """Name of the class of `KINDS` that the error is of, "" where it is of none."""
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in KINDS), "")


def check(outcomes: Iterable[Outcome]) -> None:
    """Go through the outcomes; raise one error at the end that names the units that failed, if any did."""
    raise_failed([one for one in outcomes if one.problem])


def raise_failed(failed: Sequence[Outcome]) -> None:
    """One error for these outcomes, nothing for none.

    Of the class that the units raised, where that is one a user can mend and all raised the same, else DataError. Where
    all of such a class say the same, these words alone.
    """
    if not failed:
        return
    names, problems = {one.error for one in failed}, {one.problem for one in failed}
    kind: type[MmkdError] = KINDS.get(names.pop(), DataError) if len(names) == 1 else DataError
    if len(problems) == 1 and failed[0].error in KINDS:
        raise kind(failed[0].problem)
    lines = [f"  {one.unit.label}: {one.problem} (see {one.log})" for one in failed[:SHOWN]]
    more = [f"  ... and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []
    what = "1 unit of work" if len(failed) == 1 else f"{len(failed)} units of work"
    go_on = "what is finished is kept: mend the reason and run the same command again"
    raise kind("\n".join([f"{what} failed; {go_on}", *lines, *more]))
