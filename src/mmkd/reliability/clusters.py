"""Groups of a corpus without labels: as coarse as they can be without hiding that teachers differ.

k-means finds many small clusters in the space of `pair_space.py`, and a tree joins the nearest, two at a time. From its
leaves upwards a join stays a border where it has to: where the weights that teachers earn in the parts do better there
than those that they earn in the whole. Measured on a whole of two modalities, a teacher that separates modalities looks
good, so that border stays; the findings of one modality have the same expert, so that one goes. Weights are earned and
tested on different pairs. Letters: N rows, D dimension, K leaves, T teachers, F folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mmkd.features.store import TeacherFeatures
from mmkd.randomness import Purpose, generator
from mmkd.reliability.pair_space import drawn_state, pair_space
from mmkd.reliability.rank_test import both_ways, rank_test, soft_weights

FIT_ROWS = 10_000  # rows from which axes, centres and borders are found
BLOCK = 8_192
LEAVES = 64
SMALLEST = 50  # pairs; the rank test on fewer cannot tell an advantage of .16 from none
RIVALS = 32
FOLDS = 2
LEAD = 1.0  # standard errors by which parts must beat the whole: a border too many costs less than one too few
POWER, TRUSTED = 4.0, 2.0  # of the weights that are compared, as `soft_weights` has them

Leaves = tuple[int, ...]
Sides = Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]  # image (N, D), text (N, D), valid (N,) of each teacher


def find_clusters(
    features: Sequence[TeacherFeatures], rows: np.ndarray, total: int, clusters: int, seed: int
) -> np.ndarray:
    """The cluster of each of the corpus's `total` rows, int32; found on `rows`, number 0 is the largest there.

    clusters: how many, 0: as many as the teachers' differences need, possibly one. Of an asked number there may be
    fewer, as small ones are joined. Axes, centres and borders are found on FIT_ROWS rows drawn by the seed, and the
    others are put to their nearest centre BLOCK at a time, so memory does not grow with the corpus but for the result.
    """
    rng = generator(seed, Purpose.CLUSTERS)
    fitted = np.sort(rng.choice(rows, min(FIT_ROWS, len(rows)), replace=False))
    space = pair_space(features, fitted, rng)
    fit_ND = space.at(fitted)
    count = min(clusters or min(LEAVES, int((len(fitted) / 2) ** 0.5)), len(fitted))
    centre_KD = join_small(fit_ND, _k_means(fit_ND, max(count, 1), rng), SMALLEST * len(fitted) / len(rows))
    leaf_N = nearest(fit_ND, centre_KD)
    if clusters:
        cluster_K = np.arange(len(centre_KD))
    else:
        sides = [teacher.take(fitted) for teacher in features]
        cluster_K = pruned(joins(centre_KD), leaf_N, sides, rng)
    found_N = np.empty(total, dtype=np.int32)
    for first in range(0, total, BLOCK):
        block = np.arange(first, min(first + BLOCK, total))
        found_N[block] = cluster_K[nearest(space.at(block), centre_KD)]
    return _largest_first(found_N, cluster_K[leaf_N])


def _k_means(value_ND: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    from sklearn.cluster import KMeans

    found = KMeans(count, n_init=10, random_state=drawn_state(generator)).fit(value_ND)
    return np.asarray(found.cluster_centers_)


def join_small(value_ND: np.ndarray, centre_KD: np.ndarray, smallest: float) -> np.ndarray:
    """Centres without those of fewer than `smallest` rows, whose rows go to the next nearest."""
    while True:
        size_K = np.bincount(nearest(value_ND, centre_KD), minlength=len(centre_KD))
        if len(centre_KD) == 1 or size_K.min() >= smallest:
            return np.asarray(centre_KD)
        centre_KD = np.delete(centre_KD, size_K.argmin(), axis=0)


def nearest(value_ND: np.ndarray, centre_KD: np.ndarray) -> np.ndarray:
    """The nearest centre of each row (N,)."""
    return np.asarray((0.5 * (centre_KD**2).sum(axis=1) - value_ND @ centre_KD.T).argmin(axis=1))


def _largest_first(found_N: np.ndarray, fitted_N: np.ndarray) -> np.ndarray:
    """The same clusters numbered by their size among the fitted rows, int32."""
    size = np.bincount(fitted_N, minlength=int(found_N.max()) + 1)
    rank = np.empty(len(size), dtype=np.int32)
    rank[np.argsort(-size, kind="stable")] = np.arange(len(size))
    return np.asarray(rank[found_N])


def joins(centre_KD: np.ndarray) -> list[tuple[int, int]]:
    """Which two nodes are joined, in turn; nodes are the K leaves, then each join (Ward's linkage of the centres)."""
    from scipy.cluster.hierarchy import linkage

    if len(centre_KD) == 1:
        return []
    return [(int(first), int(second)) for first, second, *_ in linkage(centre_KD, "ward")]


@dataclass(frozen=True)
class NodeTest:
    """The rank tests of all teachers in one node. weight_FT: earned outside of a fold, sum 1, or 0 where no teacher is
    above chance. advantage_FT, variance_FT: measured inside it."""

    rows: int
    weight_FT: np.ndarray
    advantage_FT: np.ndarray
    variance_FT: np.ndarray

    @property
    def without_expert(self) -> bool:
        """Whether there is a fold in which no teacher is above chance."""
        return not bool(self.weight_FT.any(axis=1).all())

    def gain(self, whole: "NodeTest") -> tuple[float, float]:
        """How much more the own weights know here than those of a whole that this is a part of: sum over rows, and its
        variance if teachers guessed."""
        more_FT = (self.weight_FT - whole.weight_FT) * self.rows / FOLDS
        known = float((more_FT * np.clip(self.advantage_FT, 0.0, None)).sum())
        return known, float((more_FT**2 * self.variance_FT).sum())


@dataclass
class TreeTest:
    """Rank tests of the nodes of a tree, each made once, on the rows' own folds."""

    sides: Sides
    leaf_N: np.ndarray
    fold_N: np.ndarray
    generator: np.random.Generator
    known: dict[Leaves, NodeTest] = field(default_factory=dict)

    def of(self, leaves: Leaves) -> NodeTest:
        """leaves: those of the node."""
        if leaves not in self.known:
            inside_N = np.isin(self.leaf_N, leaves)
            folds = [inside_N & (self.fold_N == fold) for fold in range(FOLDS)]
            weights = [_earned(*self._test(inside_N & ~held_N)) for held_N in folds]
            advantages, variances = zip(*(self._test(held_N) for held_N in folds), strict=True)
            self.known[leaves] = NodeTest(
                int(inside_N.sum()), np.array(weights), np.array(advantages), np.minimum(np.array(variances), 1.0)
            )
        return self.known[leaves]

    def _test(self, inside_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Advantage and variance of each teacher, (T,) both."""
        found = [
            rank_test(image[inside_N & valid], text[inside_N & valid], RIVALS, self.generator)
            for image, text, valid in self.sides
        ]
        return np.array([one.advantage for one in found]), np.array([one.variance for one in found])

    def transfer(self, part: Leaves, by: Leaves) -> tuple[float, float]:
        """How much better the weights of `by` rank a part's captions than equal weights do, and its standard error.

        Among the captions of both groups, so that separating the two groups is not enough. The findings of one modality
        share an expert.
        """
        both_N, part_N = np.isin(self.leaf_N, part + by), np.isin(self.leaf_N, part)
        weight_T = self.of(by).weight_FT.mean(axis=0)
        more_T = weight_T - weight_T.sum() / len(weight_T)
        known = variance = 0.0
        for more, (image, text, valid) in zip(more_T, self.sides, strict=True):
            tested_N = both_N & valid
            inside_N = part_N[tested_N]
            if tested_N.sum() < 2 or not inside_N.any():
                continue
            rank_N = both_ways(image[tested_N], text[tested_N], RIVALS, self.generator)
            known += more * float(2.0 * rank_N[inside_N].mean() - 1.0)
            variance += more**2 / (3 * inside_N.sum())
        return known, variance**0.5


def _earned(advantage_T: np.ndarray, variance_T: np.ndarray) -> np.ndarray:
    z_T = advantage_T / np.sqrt(variance_T)
    weight_T = soft_weights(advantage_T[None], z_T[None], POWER, TRUSTED)[0]
    return np.asarray(weight_T / max(weight_T.sum(), 1e-12))


def pruned(
    tree: Sequence[tuple[int, int]], leaf_N: np.ndarray, sides: Sides, generator: np.random.Generator
) -> np.ndarray:
    """The cluster of each leaf (K,), numbered from 0: a part of the tree stays divided where that gains something.

    From the leaves upwards the clusters found so far below a join are compared with the join as one cluster: on each of
    them, the weights earned there against those earned in the whole. They stay apart if they gain more than LEAD
    standard errors. Before that, a cluster in which no teacher is above chance is merged with the one whose
    expert ranks it best.
    """
    tests = TreeTest(sides, leaf_N, generator.integers(FOLDS, size=len(leaf_N)), generator)
    node_leaves: list[Leaves] = [(leaf,) for leaf in range(len(tree) + 1)]
    parts = [[leaves] for leaves in node_leaves]
    for first, second in tree:
        whole = node_leaves[first] + node_leaves[second]
        divided = merged(merged(parts[first] + parts[second], parts[first], tests), parts[second], tests)
        gains, variances = zip(*(tests.of(part).gain(tests.of(whole)) for part in divided), strict=True)
        keep = sum(gains) > LEAD * sum(variances) ** 0.5
        node_leaves.append(whole)
        parts.append(divided if keep else [whole])
    cluster_K = np.empty(len(tree) + 1, dtype=np.int64)
    for number, leaves in enumerate(parts[-1]):
        cluster_K[list(leaves)] = number
    return cluster_K


def merged(divided: list[Leaves], side: list[Leaves], tests: TreeTest) -> list[Leaves]:
    """`divided`, but a side of one cluster in which no teacher is above chance goes to the cluster whose expert fits.

    That is the expert that ranks it best. Where none ranks it better by LEAD standard errors, it stays a cluster.
    """
    if len(side) != 1 or side[0] not in divided or not tests.of(side[0]).without_expert:
        return divided
    orphan = side[0]
    experts = [part for part in divided if part != orphan and not tests.of(part).without_expert]
    known = {part: tests.transfer(orphan, part) for part in experts}
    best = max(known, key=lambda part: known[part][0], default=None)
    if best is None or known[best][0] <= LEAD * known[best][1]:
        return divided
    return [part + orphan if part == best else part for part in divided if part != orphan]
