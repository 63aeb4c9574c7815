"""The simulation behind `bench/scale.py`: laws of handing out, and values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scale import FIGURES, figures_of, limits, row
from scale_simulation import Queue, Work, dynamic, static
from scale_workloads import LOADS, Load, Node

seconds = st.lists(st.floats(0.1, 100.0), min_size=1, max_size=30)
workers = st.integers(1, 8)


def work(values: list[float], models: list[int] | None = None, load_s: float = 0.0) -> Work:
    return Work(np.array(values), np.array(models or [0] * len(values)), load_s)


def test_the_longest_comes_first() -> None:
    """Two workers: 3 on one and 1 + 1 + 1 on the other; in order every second one: 3 + 1 and 1 + 1."""
    assert dynamic(work([1, 3, 1, 1]), [1.0, 1.0]) == pytest.approx(3)
    assert static(work([3, 1, 1, 1]), [1.0, 1.0]) == pytest.approx(4)


def test_a_slow_worker_takes_fewer_units() -> None:
    """Of nine units of a second the one of a fifth of the speed takes one, which ends at 5 s."""
    assert dynamic(work([1.0] * 9), [1.0, 1.0, 0.2]) == pytest.approx(5)
    assert static(work([1.0] * 9), [1.0, 1.0, 0.2]) == pytest.approx(15)


def test_smaller_units_leave_a_slow_worker_less_to_end_with() -> None:
    """Nine seconds in units of a third: the slow one takes 3 of them, and all end after 5 s; in 27ths, after 4.2 s."""
    slow = [1.0, 1.0, 0.2]
    thirds = work([1.0] * 9).split(3)
    assert thirds.ideal == pytest.approx(9)
    assert dynamic(thirds, slow) == pytest.approx(5)
    assert dynamic(work([1.0] * 9).split(27), slow) == pytest.approx(9 / 2.2, rel=0.05)


def test_a_worker_stays_with_its_model() -> None:
    """Two models of three units each, ten seconds to load one: nobody loads twice."""
    of_two = work([1.0] * 6, [0, 1] * 3, load_s=10.0)
    assert dynamic(of_two, [1.0, 1.0]) == pytest.approx(13)
    assert dynamic(of_two, [1.0]) == pytest.approx(of_two.ideal) == pytest.approx(26)
    assert static(of_two, [1.0]) == pytest.approx(66)  # in order, each unit is of another model


@given(seconds, workers)
def test_list_scheduling_keeps_its_bounds(values: list[float], count: int) -> None:
    """Graham's: never better than the mean or the longest, never worse than the mean and the longest together."""
    found, mean = dynamic(work(values), [1.0] * count), sum(values) / count
    assert max(mean, max(values)) <= found * (1 + 1e-9)
    assert found <= (mean + max(values)) * (1 + 1e-9)
    assert static(work(values), [1.0] * count) >= mean * (1 - 1e-9)


@given(seconds, st.integers(1, 3))
def test_each_unit_is_taken_once(values: list[float], models: int) -> None:
    queue = Queue(work(values, [place % models for place in range(len(values))]))
    taken = list(iter(lambda: queue.take(None), None))
    assert sorted(taken) == list(range(len(values)))


@pytest.fixture
def load() -> Load:
    return Load("made up", work([1.0] * 8), 1, {"writing": 3.0}, 8e9, {"counting": 2.0}, {})


def test_limits_are_said_from_the_node_on_where_they_begin(load: Load) -> None:
    """Eight seconds of work and 8 GB: two nodes read 2 GB/s in 4 s; four take 2 s, less than the 3 s of one process."""
    node = Node(memory_gb=3.0, disk_gb_s=1.5)
    rows = [row(load, nodes, 5.0) for nodes in (1, 2, 4, 16)]
    found = {kind: nodes for nodes, kind, _ in limits(load, rows, node)}
    assert found == {"reading": 2, "serial": 4, "hand-out": 16}
    small = replace(node, memory_gb=1.0)
    assert [words for _, kind, words in limits(load, rows, small) if kind == "memory"] == [
        "counting: 2 GB, a node has 1"
    ]


@pytest.mark.parametrize("name", LOADS)
def test_the_loads_of_the_issue_are_simulated_from_the_figures(name: str) -> None:
    """Twice the speed of a unit halves the parallel part; what was done is said of each limit."""
    figures = {key: float(one["value"]) for key, one in figures_of(FIGURES).items()}
    node = Node()
    one = LOADS[name](figures, node)
    rows = [row(one, nodes, 5.0) for nodes in (1, 4)]
    assert rows[0].efficiency <= 1 + 1e-9
    assert rows[1].dynamic < rows[0].dynamic
    assert rows[0].dynamic <= rows[0].static * (1 + 1e-9)
    assert {kind for _, kind, _ in limits(one, rows, node)} <= set(one.mended)
    assert all(figure["source"] and figure["what"] for figure in figures_of(FIGURES).values())
