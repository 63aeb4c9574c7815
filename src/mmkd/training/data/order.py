"""Which pairs a step has: a pure function of the seed, the epoch and the step.

Nothing here has a state, so a run resumes from one integer, and worker and process counts change nothing.
Letters: N pairs, G groups (clusters or modalities), Q draws of a group in an epoch.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from mmkd.errors import ConfigError
from mmkd.randomness import Purpose, generator


@dataclass(frozen=True, eq=False)
class Order:
    """The pairs of every step of a run. balance: 0..1, see `quotas`; group_N: the group of each pair, for balance > 0.

    Balanced, an epoch has N draws as well. A group's draws are whole permutations of it, one after another and across
    epochs, so no pair is drawn twice more often than another of its group. A group smaller than its share of a batch
    repeats pairs within the batch; equal captions and images are joint positives there.
    Without shuffle the pairs of an epoch come in file order. Raises ConfigError when balance has no groups.
    """

    pairs: int
    batch_size: int
    seed: int
    shuffle: bool = True
    group_N: np.ndarray | None = None
    balance: float = 0.0
    _balanced: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.balance and (self.group_N is None or len(self.group_N) != self.pairs):
            found = "none" if self.group_N is None else str(len(self.group_N))
            raise ConfigError(f"balance {self.balance} needs the group of each of {self.pairs} pairs, but got {found}")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: a contrastive loss on a smaller batch is another task."""
        return self.pairs // self.batch_size

    def at(self, step: int) -> np.ndarray:
        """Positions of the pairs of a global step (0-based), int64 (batch_size,)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return self.epoch(epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def epoch(self, epoch: int) -> np.ndarray:
        """Positions of all draws of an epoch, int64 (N,)."""
        if not self.balance:
            return epoch_order(self.pairs, self.seed, epoch) if self.shuffle else np.arange(self.pairs)
        found = self._balanced.get(epoch)
        if found is None:
            found = self._draws(epoch)
            self._balanced.clear()  # every step of an epoch asks for the same one
            self._balanced[epoch] = found
        return found

    def _draws(self, epoch: int) -> np.ndarray:
        drawn_N = np.concatenate(
            [
                members[self._cycles(g, len(members), epoch * quota, (epoch + 1) * quota)]
                for g, (members, quota) in enumerate(zip(self._members, self._quotas, strict=True))
            ]
        )
        return drawn_N[epoch_order(self.pairs, self.seed, epoch)] if self.shuffle else np.sort(drawn_N)

    def _cycles(self, g: int, size: int, first: int, last: int) -> np.ndarray:
        """Draws first..last-1 of a group, (Q,) of 0..size-1, from its endless row of permutations."""
        if not self.shuffle:
            return np.arange(first, last) % size
        cycles = range(first // size, -(-last // size))
        permuted = [generator(self.seed, Purpose.BALANCED_GROUP, g, cycle).permutation(size) for cycle in cycles]
        return np.concatenate(permuted)[first - cycles.start * size : last - cycles.start * size]

    @cached_property
    def _members(self) -> list[np.ndarray]:
        label_G, of_N = np.unique(np.asarray(self.group_N), return_inverse=True)
        return np.split(np.argsort(of_N, kind="stable"), np.cumsum(np.bincount(of_N, minlength=len(label_G)))[:-1])

    @cached_property
    def _quotas(self) -> list[int]:
        return [int(quota) for quota in quotas(np.array(list(map(len, self._members))), self.balance)]


def quotas(size_G: np.ndarray, balance: float) -> np.ndarray:
    """Draws of each group in an epoch, int64 (G,): in proportion to size^(1 - balance), their sum that of the sizes.

    Largest remainders are rounded up. 0 draws every pair once, 1 every group equally often.
    """
    share_G = size_G ** (1.0 - balance)
    exact_G = share_G / share_G.sum() * size_G.sum()
    quota_G = np.floor(exact_G + 1e-9).astype(np.int64)
    rest = int(size_G.sum() - quota_G.sum())
    quota_G[np.argsort(quota_G - exact_G, kind="stable")[:rest]] += 1
    return np.asarray(quota_G)


@lru_cache(maxsize=2)  # every step of an epoch asks for the same one
def epoch_order(pairs: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..pairs-1, int64; a new one each epoch."""
    return generator(seed, Purpose.EPOCH, epoch).permutation(pairs)
