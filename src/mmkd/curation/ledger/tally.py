"""Exact counts of small whole numbers and of what repeats, in memory that does not grow with the text behind them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

QUANTILES = {"min": 0.0, "p05": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}


def quantile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least `share` (0..1) of all do not exceed. Raises ValueError without values."""
    if not counts:
        raise ValueError("no values: a quantile needs one")
    return int(np.quantile(list(counts), share, weights=list(counts.values()), method="inverted_cdf"))


def summary(counts: Mapping[int, int]) -> dict[str, float]:
    """Quantiles and mean; empty without values."""
    if not counts:
        return {}
    mean = sum(value * times for value, times in counts.items()) / sum(counts.values())
    return {**{name: quantile(counts, share) for name, share in QUANTILES.items()}, "mean": round(mean, 2)}


def binned(counts: Mapping[int, int], bins: int) -> tuple[list[int], list[int]]:
    """Edges (bins + 1 at most) and sums of equal bins of whole width that hold all values; none without values."""
    if not counts:
        return [], []
    low, high = min(counts), max(counts)
    width = -(-(high + 1 - low) // bins)
    edges = list(range(low, high + 1 + width, width))
    return edges, np.histogram(list(counts), edges, weights=list(counts.values()))[0].tolist()


@dataclass(frozen=True)
class Repeats:
    """How values repeat. distinct: different ones; repeated: different ones that occur more than once;
    rows: those that have a repeated value; largest: of the most frequent one."""

    distinct: int
    repeated: int
    rows: int
    largest: int


def repeats(batches: Sequence[np.ndarray]) -> Repeats:
    """Of values of 64 bits, batch by batch; the one thing here that holds every row, in eight bytes each."""
    if not (values := [batch for batch in batches if len(batch)]):
        return Repeats(0, 0, 0, 0)
    _, times = np.unique(np.concatenate(values), return_counts=True)
    more = times[times > 1]
    return Repeats(len(times), len(more), int(more.sum()), int(times.max()))


def most_common(counts: Counter[str]) -> dict[str, int]:
    """The frequent first, equal ones by name, so that equal corpora give equal tables."""
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
