"""The data order: a pure function, every pair once an epoch."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.training.order import batch_at, epoch_order, step_generator, steps_per_epoch


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_an_epoch_is_a_permutation_and_the_same_every_time(pairs: int, seed: int, epoch: int) -> None:
    order = epoch_order(pairs, seed, epoch)
    assert sorted(order.tolist()) == list(range(pairs))
    epoch_order.cache_clear()
    assert np.array_equal(epoch_order(pairs, seed, epoch), order)


def test_epochs_and_seeds_differ() -> None:
    orders = [tuple(epoch_order(50, seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


def test_the_batches_of_an_epoch_are_disjoint_and_in_its_order() -> None:
    batches = [batch_at(step, pairs=23, batch_size=5, seed=7) for step in range(2 * steps_per_epoch(23, 5))]
    assert np.array_equal(np.concatenate(batches[:4]), epoch_order(23, 7, 0)[:20])
    assert np.array_equal(np.concatenate(batches[4:]), epoch_order(23, 7, 1)[:20])


def test_random_numbers_depend_on_step_and_purpose_alone() -> None:
    def draw(seed: int, step: int, purpose: int) -> float:
        return float(torch.rand(1, generator=step_generator(seed, step, purpose)))

    assert draw(0, 5, 1) == draw(0, 5, 1)
    assert len({draw(seed, step, purpose) for seed in (0, 1) for step in (0, 1) for purpose in (1, 2)}) == 8
