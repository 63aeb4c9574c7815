"""The data order: a pure function, every pair once an epoch, or every group as often as the balance says."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.errors import ConfigError
from mmkd.training.data.order import Order, epoch_order, quotas

GROUPS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


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
    order = Order(23, 5, seed=7)
    batches = [order.at(step) for step in range(2 * order.steps_per_epoch)]
    assert np.array_equal(np.concatenate(batches[:4]), epoch_order(23, 7, 0)[:20])
    assert np.array_equal(np.concatenate(batches[4:]), epoch_order(23, 7, 1)[:20])


def groups_of(sizes: list[int]) -> np.ndarray:
    """Labels of groups of these sizes, interleaved."""
    return np.random.default_rng(0).permutation(np.repeat([f"group {g}" for g in range(len(sizes))], sizes))


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_the_plain_order_is_the_permutation_of_the_epoch(pairs: int, batch_size: int, seed: int, step: int) -> None:
    order = Order(pairs, batch_size, seed, group_N=np.zeros(pairs))
    if order.steps_per_epoch:
        epoch, place = divmod(step, order.steps_per_epoch)
        first = place * batch_size
        assert np.array_equal(order.at(step), epoch_order(pairs, seed, epoch)[first : first + batch_size])


def test_the_bits_of_earlier_runs_stay() -> None:
    assert Order(10, 5, seed=3).at(0).tolist() == [0, 5, 9, 1, 4]
    assert Order(10, 5, seed=3).at(3).tolist() == [9, 6, 2, 5, 1]


def test_without_shuffle_every_epoch_is_in_file_order() -> None:
    order = Order(7, 3, seed=1, shuffle=False)
    assert [order.at(step).tolist() for step in range(4)] == [[0, 1, 2], [3, 4, 5], [0, 1, 2], [3, 4, 5]]
    balanced = Order(9, 3, 1, shuffle=False, group_N=np.array(list("aaaaaaabb")), balance=1.0)
    for epoch in range(3):
        assert (np.diff(balanced.epoch(epoch)) >= 0).all()


@given(GROUPS, st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_quotas_add_up_and_leave_out_no_group(sizes: list[int], balance: float) -> None:
    quota_G = quotas(np.array(sizes), balance)
    assert quota_G.sum() == sum(sizes)
    assert (quota_G >= 1).all()


def test_quotas_by_hand() -> None:
    assert quotas(np.array([90, 10]), 0.0).tolist() == [90, 10]
    assert quotas(np.array([90, 10]), 1.0).tolist() == [50, 50]
    assert quotas(np.array([90, 10]), 0.5).tolist() == [75, 25]  # 3 to 1, the root of 9 to 1
    assert quotas(np.array([4, 2, 1]), 1.0).tolist() == [3, 2, 2]


@given(GROUPS, st.floats(0.01, 1), st.booleans(), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_pairs_of_a_group_are_drawn_equally_often(sizes: list[int], balance: float, shuffle: bool, epochs: int) -> None:
    group_N = groups_of(sizes)
    order = Order(len(group_N), 1, 4, shuffle, group_N, balance)
    drawn = np.concatenate([order.epoch(epoch) for epoch in range(epochs)])
    times_N = np.bincount(drawn, minlength=len(group_N))
    assert len(drawn) == epochs * len(group_N)
    for g, quota in enumerate(quotas(np.array(sizes), balance)):
        mine = times_N[group_N == f"group {g}"]
        assert mine.sum() == epochs * quota
        assert mine.max() - mine.min() <= 1


def test_a_balanced_order_is_a_pure_function_of_the_step() -> None:
    group_N = groups_of([50, 7, 20])

    def order(seed: int = 0) -> Order:
        return Order(len(group_N), 10, seed, group_N=group_N, balance=0.7)

    forward = [order().at(step).tolist() for step in range(21)]
    one = pickle.loads(pickle.dumps(order()))  # a worker's copy
    assert [one.at(step).tolist() for step in reversed(range(21))] == forward[::-1]
    assert forward[0] != forward[7] != order(1).at(0).tolist()


def test_balance_needs_the_group_of_every_pair() -> None:
    with pytest.raises(ConfigError, match="needs the group of each of 5 pairs, but got none"):
        Order(5, 2, 0, balance=0.5)
    with pytest.raises(ConfigError, match="but got 3"):
        Order(5, 2, 0, group_N=np.zeros(3), balance=0.5)
