"""Which samples a bootstrap replicate draws, and what the replicates say.

B replicates, N samples. Every model of a data set is measured on the same draws, so differences are paired.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mmkd.evaluation.statistics.metrics import Array

BLOCK_CELLS = 2**22  # weights (replicates x samples) turned into float64 at once: 32 MiB


def draw_counts(group_N: Sequence[str], label_N: Array | None, replicates: int, rng: np.random.Generator) -> Array:
    """How often each replicate draws each sample; uint16 (B, N).

    Where groups are declared, whole groups are drawn with replacement, as many as there are (a sample with group ""
    is a group of its own). Otherwise samples are drawn, within each class where labels are given (class sizes stay),
    else among all. The counts of what is drawn together follow a multinomial distribution.
    """
    if any(group_N):
        named = [("group", group) if group else ("sample", str(n)) for n, group in enumerate(group_N)]
        place = {name: number for number, name in enumerate(dict.fromkeys(named))}
        return _draw(len(place), replicates, rng)[:, [place[name] for name in named]]
    if label_N is None:
        return _draw(len(group_N), replicates, rng)
    count_BN = np.empty((replicates, len(group_N)), np.uint16)
    for label in np.unique(label_N):
        members = np.flatnonzero(label_N == label)
        count_BN[:, members] = _draw(len(members), replicates, rng)
    return count_BN


def describe_draws(group_N: Sequence[str], label_N: Array | None) -> str:
    """What `draw_counts` draws, in words for the protocol."""
    if any(group_N):
        return "groups"
    return "samples" if label_N is None else "samples within each class"


def _draw(size: int, replicates: int, rng: np.random.Generator) -> Array:
    """Counts of `size` draws from `size` things, for each replicate. In blocks: draws need eight bytes, counts two."""
    count_BK = np.empty((replicates, size), np.uint16)
    block = max(1, BLOCK_CELLS // size)
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = rng.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        count_BK[start : start + rows] = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
    return count_BK


def replicate(metrics: Callable[[Array], dict[str, Array]], count_BN: Array) -> dict[str, Array]:
    """The metrics of every replicate, each (B,), computed in blocks of bounded memory."""
    block = max(1, BLOCK_CELLS // count_BN.shape[1])
    parts = [metrics(count_BN[start : start + block]) for start in range(0, len(count_BN), block)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def percentile_interval(value_B: Array, confidence: float) -> tuple[float, float]:
    """Bounds that leave (1 - confidence) / 2 of the finite replicates outside on each side; NaN where none is."""
    finite = value_B[np.isfinite(value_B)]
    if not len(finite):
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)


def two_sided_p(difference_B: Array) -> float:
    """p = min(1, 2 min((1 + #{d <= 0}) / (B + 1), (1 + #{d >= 0}) / (B + 1))) over the finite paired differences d.

    The percentile interval turned into a test of "no difference" (Davison and Hinkley, Bootstrap Methods, 4.4 and 5.4);
    the added one keeps p above zero, so the smallest value is 2 / (B + 1).
    """
    finite = difference_B[np.isfinite(difference_B)]
    tails = [(1 + np.count_nonzero(side)) / (len(finite) + 1) for side in (finite <= 0, finite >= 0)]
    return min(1.0, 2 * min(tails))
