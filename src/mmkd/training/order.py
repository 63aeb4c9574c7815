"""Which pairs a step sees, and which random numbers it draws: pure functions of the seed, the epoch and the step.

Nothing here has a state, so a run resumes from one integer, and worker and process counts change nothing.
"""

from functools import lru_cache

import numpy as np
import torch


def steps_per_epoch(pairs: int, batch_size: int) -> int:
    """Whole batches only: a contrastive loss on a smaller batch is another task."""
    return pairs // batch_size


@lru_cache(maxsize=2)  # every step of an epoch asks for the same one
def epoch_order(pairs: int, seed: int, epoch: int) -> np.ndarray:
    """A permutation of 0..pairs-1, int64; a new one each epoch."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))).permutation(pairs)


def batch_at(step: int, pairs: int, batch_size: int, seed: int) -> np.ndarray:
    """Positions of the pairs of a global step (0-based), (batch_size,)."""
    per_epoch = steps_per_epoch(pairs, batch_size)
    epoch, position = divmod(step, per_epoch)
    return epoch_order(pairs, seed, epoch)[position * batch_size : (position + 1) * batch_size]


def step_generator(seed: int, step: int, purpose: int) -> torch.Generator:
    """torch random numbers of one step and purpose; distinct purposes are independent."""
    state = np.random.SeedSequence([seed, step, purpose]).generate_state(2, dtype=np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]))
