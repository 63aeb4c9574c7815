"""The posterior of each pair's own caption being right, from how high trusted teachers rank it within its group.

A wrong caption is one of the group's captions at random; such pairs are made by drawing captions anew, and a pair's
rank among them is uniform when its caption is wrong, and high when it is right and the teacher any good. What stands
out of the uniform density is the share of right captions. Letters: N pairs of a group, S steps of the rank, G groups.
"""

from collections.abc import Sequence

import numpy as np

from mmkd.reliability.rank_test import both_ways

STEPS = 20  # of the density
LOW = 6  # steps, the lowest, in which no right caption is expected
PRIOR = 200  # pairs that the density of all groups counts as beside those of one group


def null_ranks(image_ND: np.ndarray, text_ND: np.ndarray, rivals: int, generator: np.random.Generator) -> np.ndarray:
    """Where the own caption stands among captions drawn anew: the share of drawn pairs it beats (N,), ties half.

    What is compared is the mean percentile of both directions. Ranks against drawn pairs, since that mean is not
    uniform itself. Fewer than three pairs give .5: nothing is known.
    """
    count = len(image_ND)
    if count < 3:
        return np.full(count, 0.5)
    other_N = other_captions(count, generator)
    own_N = both_ways(image_ND, text_ND, rivals, generator)
    return ranks_among(own_N, both_ways(image_ND, text_ND[other_N], rivals, generator))


def other_captions(count: int, generator: np.random.Generator) -> np.ndarray:
    """For each pair another pair, whose caption it is given (N,); each is given once."""
    order_N = generator.permutation(count)
    other_N = np.empty(count, dtype=np.int64)
    other_N[order_N] = np.roll(order_N, 1)  # a pair never keeps its own caption
    return other_N


def ranks_among(own_N: np.ndarray, drawn_N: np.ndarray) -> np.ndarray:
    """The share of drawn pairs that each pair beats (N,), ties half, from their mean percentiles."""
    sorted_N = np.sort(drawn_N)
    below_N, at_most_N = (np.searchsorted(sorted_N, own_N, side) for side in ("left", "right"))
    return np.asarray((below_N + at_most_N) / (2 * len(drawn_N)))


def rank_density(rank_N: np.ndarray) -> np.ndarray:
    """Density of ranks 0..1 on equal steps (S,), 1 on average; uniform without any."""
    if not len(rank_N):
        return np.ones(STEPS)
    step_N = np.minimum((rank_N * STEPS).astype(np.int64), STEPS - 1)
    return np.bincount(step_N, minlength=STEPS) * (STEPS / len(rank_N))


def share_right(density_S: np.ndarray) -> np.ndarray:
    """The share of right captions at each rank (S,), 0..1, never falling with the rank.

    The density is (1 - right) + right * f(rank), where f rises; no right caption is expected in the LOW lowest steps,
    so their mean is the share of wrong ones, and the rest is 1 - wrong / density (Storey's estimate; Efron's local
    false discovery rate). A rising density is fitted first. A weak teacher's right captions reach into the low ranks
    and then count as wrong: the shares are too low rather than too high.
    """
    from scipy.optimize import isotonic_regression

    wrong = min(1.0, float(density_S[:LOW].mean()))
    rising_S = np.asarray(isotonic_regression(density_S).x)
    return np.asarray(1.0 - wrong / np.maximum(rising_S, max(wrong, 1e-9)))


def posterior(rank_N: np.ndarray, all_density_S: np.ndarray) -> np.ndarray:
    """The posterior of the caption of each pair of a group being right (N,), 0..1, from its null rank (N,).

    all_density_S: the same teacher's density over all of its groups, which stands in for a small group's own.
    """
    mixed_S = (len(rank_N) * rank_density(rank_N) + PRIOR * all_density_S) / (len(rank_N) + PRIOR)
    middle_S = (np.arange(STEPS) + 0.5) / STEPS
    return np.asarray(np.interp(rank_N, middle_S, share_right(mixed_S)))


def posteriors_by_group(rank_GN: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`posterior` in every group, from one teacher's null ranks in each of them."""
    all_density_S = rank_density(np.concatenate(rank_GN)) if rank_GN else np.ones(STEPS)
    return [posterior(rank_N, all_density_S) for rank_N in rank_GN]
