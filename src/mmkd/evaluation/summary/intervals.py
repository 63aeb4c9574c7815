"""The interval of a result: percentiles of its replicates, or an exact one where replicates say nothing."""

from dataclasses import dataclass

from mmkd.evaluation.format.results import ALIKE
from mmkd.statistics.bootstrap import ROUNDING, all_or_none, percentile_interval
from mmkd.statistics.metrics import Array


@dataclass(frozen=True)
class Bounds:
    """low, high: None where no replicate is defined. is_exact: not by the replicates. words: what it is. note: what a
    reader must know of it, or ""."""

    low: float | None
    high: float | None
    is_exact: bool
    words: str
    note: str


def bounds_of(value: float, replicate_B: Array, units: int, confidence: float) -> Bounds:
    """units: independent ones of which the value is a share, 0 where it is none. Of such a share that is 0 or 1 in all
    replicates the interval is Clopper and Pearson's over the units."""
    interval = percentile_interval(replicate_B, confidence)
    is_all, is_none = (abs(value - end) <= ROUNDING for end in (1, 0))
    if units and interval.is_alike and (is_all or is_none):
        words = f"{confidence:.0%} exact interval (Clopper-Pearson) over {units:,} independent units"
        low, high = all_or_none(is_all, units, confidence)
        return Bounds(low, high, True, words, f"exact interval over {units:,} units, as all replicates are {value:.0f}")
    notes = []
    if interval.undefined:
        undefined = f"{interval.undefined} of {interval.replicates} replicates"
        notes.append(f"{undefined}, in which it is not defined, are left out")
    if interval.is_alike:
        notes.append(f"{ALIKE}: the interval says nothing")
    return Bounds(interval.low, interval.high, False, f"{confidence:.0%} percentile interval", "; ".join(notes))
