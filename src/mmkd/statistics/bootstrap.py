"""Which samples a bootstrap replicate draws, and what the replicates say.

B replicates, N samples, U units that are drawn (samples or groups), R the replicates of one block. Every model of a
data set is measured on the same draws, so differences are paired.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from mmkd.statistics.metrics import CHUNK_CELLS, Array

ROUNDING = 1e-12  # replicates that are closer together are alike
BLOCK_CELLS = 2**24  # counts (replicates x samples) held at once: 32 MiB

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Draws:
    """A plan of what B replicates draw; see `plan_draws`. The same plan gives the same counts whenever it is asked.

    unit_N: the unit each sample belongs to. strata: units that are drawn from one another, with replacement, as many as
    there are. words: what is drawn, for the protocol.
    """

    words: str
    unit_N: Array
    strata: tuple[Array, ...]
    replicates: int
    seed: tuple[int, ...]

    @property
    def units(self) -> int:
        """U."""
        return sum(map(len, self.strata))

    @property
    def rows(self) -> int:
        """R, of all blocks but the last."""
        return max(1, BLOCK_CELLS // len(self.unit_N))

    def blocks(self) -> Iterator[Array]:
        """How often each replicate draws each sample: uint16 (R, N), block after block until there were B replicates.

        Every stratum has a random stream of its own, so the size of the blocks changes nothing.
        """
        streams = [stream(self.seed, number) for number in range(len(self.strata))]
        units, rows = self.units, self.rows
        for start in range(0, self.replicates, rows):
            count_RU = np.empty((min(rows, self.replicates - start), units), np.uint16)
            for rng, members in zip(streams, self.strata, strict=True):
                count_RU[:, members] = _counts(len(members), len(count_RU), rng)
            yield count_RU[:, self.unit_N] if units < len(self.unit_N) else count_RU


def plan_draws(group_N: Sequence[str], label_N: Array | None, replicates: int, seed: Sequence[int]) -> Draws:
    """Plan the draws of N samples; the counts of units that are drawn together follow a multinomial distribution.

    Where groups are declared, whole groups are drawn (a sample with group "" is a group of its own): the cluster
    bootstrap, for samples of one patient are not independent. Otherwise samples are drawn, within each class where
    labels are given (class sizes stay), else among all. Raises ValueError for no samples or replicates, or lengths that
    differ.
    """
    if not len(group_N) or replicates < 1:
        raise ValueError(f"{len(group_N)} samples and {replicates} replicates, expected one or more of both")
    if label_N is not None and len(label_N) != len(group_N):
        raise ValueError(f"{len(label_N)} labels for {len(group_N)} samples")
    unit_N = np.arange(len(group_N))
    words = "samples"
    strata: tuple[Array, ...] = (unit_N,)
    if any(group_N):
        unit_N = group_numbers(group_N)
        words, strata = "groups", (np.arange(unit_N.max() + 1),)
    elif label_N is not None:
        words = "samples within each class"
        strata = tuple(np.flatnonzero(label_N == label) for label in np.unique(label_N))
    return Draws(words, unit_N, strata, replicates, tuple(seed))


def group_numbers(group_N: Sequence[str]) -> Array:
    """Every sample's group as a number from 0 on, in the order of appearance; a group "" is one of its own; (N,)."""
    named = [("group", group) if group else ("sample", str(n)) for n, group in enumerate(group_N)]
    place = {name: number for number, name in enumerate(dict.fromkeys(named))}
    return np.array([place[name] for name in named], np.int64)


def number_of_groups(group_N: Sequence[str]) -> int:
    """U, as `plan_draws` counts it: of samples without any group, their number."""
    return len({*group_numbers(group_N).tolist()})


def stream(seed: Sequence[int], number: int) -> np.random.Generator:
    """One of many independent random streams of a seed."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))


def _counts(size: int, replicates: int, rng: np.random.Generator) -> Array:
    """Counts of `size` draws from `size` things, for each replicate; a few at a time, so that they fit the cache."""
    count_RU = np.empty((replicates, size), np.uint16)
    few = max(1, CHUNK_CELLS // size)
    for start in range(0, replicates, few):
        rows = min(few, replicates - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        count_RU[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return count_RU


def replicate(
    metrics: Callable[[Array], dict[Name, Array]], draws: Draws, only: slice = slice(None)
) -> dict[Name, Array]:
    """What `metrics` finds on every replicate, each (B,); the memory does not grow with B.

    only: of the blocks, counted from 0; blocks in a row put together are as all at once, to the bit.
    """
    parts = [metrics(count_RN) for count_RN in islice(draws.blocks(), only.start, only.stop)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Interval:
    """low, high: None where no replicate is defined. undefined: how many of the replicates are not and are left out.

    is_alike: all others are one number, as where every sample is right, or every answer the same and classes keep their
    sizes. They show no error, and the bounds, which are that number, say nothing.
    """

    low: float | None
    high: float | None
    replicates: int
    undefined: int
    is_alike: bool = False


def percentile_interval(value_B: Array, confidence: float) -> Interval:
    """Bounds that leave (1 - confidence) / 2 of the finite replicates outside on each side."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}, expected a number between 0 and 1")
    finite = value_B[np.isfinite(value_B)]
    undefined = len(value_B) - len(finite)
    if not len(finite):
        return Interval(None, None, len(value_B), undefined)
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(float(low), float(high), len(value_B), undefined, _are_alike(finite))


def all_or_none(is_all: bool, units: int, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's exact interval of a share where all of the independent units are right, or none; 0..1."""
    if units < 1:
        raise ValueError(f"{units} units, expected one or more")
    far = ((1 - confidence) / 2) ** (1 / units)
    return (far, 1.0) if is_all else (0.0, 1 - far)


def _are_alike(finite: Array) -> bool:
    return bool(np.ptp(finite) <= ROUNDING)


def two_sided_p(difference_B: Array) -> float:
    """p = min(1, 2 min((1 + #{d <= 0}) / (B + 1), (1 + #{d >= 0}) / (B + 1))) over the finite paired differences d.

    The percentile interval turned into a test of "no difference" (Davison and Hinkley, Bootstrap Methods, 4.4 and 5.4);
    the added one keeps p above zero, so the smallest value is 2 / (B + 1). It is 1 without finite differences and where
    all are alike, for replicates that do not vary show no error to compare a difference with.
    """
    finite = difference_B[np.isfinite(difference_B)]
    if not len(finite) or _are_alike(finite):
        return 1.0
    tails = [(1 + np.count_nonzero(side)) / (len(finite) + 1) for side in (finite <= 0, finite >= 0)]
    return min(1.0, 2 * min(tails))
