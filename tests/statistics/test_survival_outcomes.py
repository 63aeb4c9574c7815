"""Outcomes are checked once."""

import numpy as np
import pytest
from survival_world import patients

from mmkd.errors import DataError
from mmkd.statistics.survival.outcomes import Outcomes, event_time_quantiles


def test_events_are_booleans_and_times_floats() -> None:
    found = Outcomes.of(np.array([1, 0, 1]), np.array([3, 5, 1]))
    np.testing.assert_array_equal(found.event_N, [True, False, True])
    assert (found.event_N.dtype, found.time_N.dtype) == (bool, np.float64)


def test_take_keeps_event_and_time_together() -> None:
    outcomes = Outcomes.of(np.array([True, False, True]), np.array([3.0, 5.0, 1.0]))
    for index in (np.array([2, 1]), np.array([False, True, True])):
        assert set(zip(*vars(outcomes.take(index)).values(), strict=True)) == {(False, 5.0), (True, 1.0)}


@pytest.mark.parametrize(
    ("event", "time", "words"),
    [
        ([1, np.nan, 0], [1, 2, 3], r"event: row 1 is nan, expected 1 \(happened\) or 0 \(censored\) \(1 of 3 rows"),
        ([1, 2, 2], [1, 2, 3], r"row 1 is 2\.0.*2 of 3 rows"),
        ([1, 0], [1, -2], r"time: row 1 is -2\.0"),
        ([1, 0], [np.nan, 2], "time: row 0 is nan"),
        ([1, 0], [1, np.inf], "time: row 1 is inf"),
        ([], [], "no patient"),
        (["alive", "dead"], [1, 2], "event: expected numbers"),
    ],
)
def test_bad_outcomes_are_named(event: list[object], time: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Outcomes.of(np.array(event), np.array(time))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and time \(3,\)"):
        Outcomes.of(np.ones(2), np.ones(3))


def test_times_to_evaluate_at_have_events_before_and_patients_after() -> None:
    for seed in range(20):
        outcomes = patients(12, seed)
        time_T = event_time_quantiles(outcomes)
        assert (np.diff(time_T) > 0).all()
        assert set(time_T) <= set(outcomes.time_N[outcomes.event_N])
        assert time_T[-1] < outcomes.time_N.max()


def test_times_to_evaluate_at_by_hand() -> None:
    outcomes = Outcomes.of(np.array([1, 1, 1, 1, 0]), np.array([4.0, 2.0, 1.0, 3.0, 9.0]))
    np.testing.assert_array_equal(event_time_quantiles(outcomes, count=3, low=0.25, high=0.75), [1.0, 2.0, 3.0])


@pytest.mark.parametrize("event", [[0, 0], [0, 1]])
def test_no_time_to_evaluate_at(event: list[int]) -> None:
    with pytest.raises(DataError, match="no time to evaluate at"):
        event_time_quantiles(Outcomes.of(np.array(event), np.array([1.0, 2.0])))
