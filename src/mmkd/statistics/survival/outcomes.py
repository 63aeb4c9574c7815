"""Outcomes of patients, checked once; N patients, M of them taken, B weightings.

An outcome is a time and whether the event happened then. event = 1: it happened; event = 0: the patient was last
observed alive at that time (right-censored). Tables that store `censorship` (1 = censored, as those made from the TCGA)
mean the opposite: event = 1 - censorship.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mmkd.errors import DataError
from mmkd.statistics.metrics import Array, check_weights


@dataclass(frozen=True)
class Outcomes:
    """Checked outcomes; made by `of`. event_N: bool. time_N: float64, finite, not negative."""

    event_N: Array
    time_N: Array

    @classmethod
    def of(cls, event_N: Array, time_N: Array) -> Self:
        """From event flags (bool, or numbers 0 and 1) and times in any one unit.

        Raises ValueError where the shapes differ, DataError where there is no patient, a flag is neither 0 nor 1, or a
        time is negative, infinite or missing.
        """
        event_N, time_N = numbers(event_N, "event"), numbers(time_N, "time")
        if event_N.ndim != 1 or event_N.shape != time_N.shape:
            raise ValueError(f"event has shape {event_N.shape} and time {time_N.shape}; expected the same (N,)")
        if not len(event_N):
            raise DataError("no patient at all; survival statistics need at least one outcome")
        _complain(event_N, ~np.isin(event_N, (0.0, 1.0)), "event", "1 (happened) or 0 (censored)")
        _complain(time_N, ~(np.isfinite(time_N) & (time_N >= 0)), "time", "a finite number, zero or more")
        return cls(event_N == 1, time_N)

    def __len__(self) -> int:
        return len(self.time_N)

    def take(self, index_M: Array) -> Self:
        """The outcomes at these positions, or where a mask is true."""
        return type(self)(self.event_N[index_M], self.time_N[index_M])


def numbers(value: Array, name: str) -> Array:
    """The values as float64. Raises DataError where one is no number."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: expected numbers ({error})") from error


def checked_column(value_N: Array, patients: int, name: str) -> Array:
    """A finite number for each patient, float64. Raises ValueError for a wrong shape, DataError for NaN or infinity."""
    value_N = numbers(value_N, name)
    if value_N.shape != (patients,):
        raise ValueError(f"{name} has shape {value_N.shape}; expected one value for each of {patients} patients")
    _complain(value_N, ~np.isfinite(value_N), name, "a finite number")
    return value_N


def checked_table(value_ND: Array, rows: int, name: str) -> Array:
    """Rows of finite numbers, float64 (rows, D); errors as `checked_column`."""
    value_ND = numbers(value_ND, name)
    if value_ND.ndim != 2 or len(value_ND) != rows:
        raise ValueError(f"{name} has shape {value_ND.shape}; expected ({rows}, D)")
    unknown_ND = ~np.isfinite(value_ND)
    if unknown_ND.any():
        row, column = np.argwhere(unknown_ND)[0]
        count = np.count_nonzero(unknown_ND.any(axis=1))
        raise DataError(
            f"{name}: row {row}, column {column} is {value_ND[row, column]}, expected a finite number "
            f"({count} of {len(value_ND)} rows like this); leave such rows out and say how many"
        )
    return value_ND


def checked_times(time_T: Array) -> Array:
    """Times to evaluate at: finite, not negative, strictly increasing, float64 (T,). Raises ValueError otherwise."""
    time_T = numbers(time_T, "times")
    if time_T.ndim != 1 or not len(time_T):
        raise ValueError(f"times have shape {time_T.shape}; expected (T,) with at least one")
    if not np.isfinite(time_T).all() or time_T[0] < 0 or (np.diff(time_T) <= 0).any():
        raise ValueError(f"times are {time_T.tolist()}; expected finite ones from zero on, each above the one before")
    return time_T


def checked_weights(weight_BN: Array, patients: int) -> Array:
    """How often each weighting counts each patient, float64. Raises ValueError unless (B, N), finite, not negative."""
    check_weights(weight_BN, patients)
    return weight_BN.astype(np.float64)


def event_time_quantiles(outcomes: Outcomes, count: int = 10, low: float = 0.1, high: float = 0.8) -> Array:
    """Up to `count` distinct times at evenly spaced quantiles of the event times, for curves over time; float64 (T,).

    At each, somebody has had the event and somebody is still observed beyond it. Raises DataError where no such time
    exists: no event, or nobody observed after the quantiles.
    """
    happened = outcomes.time_N[outcomes.event_N]
    time_T: Array = happened
    if len(happened):
        time_T = np.unique(np.quantile(happened, np.linspace(low, high, count), method="inverted_cdf"))
    time_T = time_T[time_T < outcomes.time_N.max()]
    if not len(time_T):
        raise DataError(
            f"no time to evaluate at: {len(happened)} events among {len(outcomes)} patients, the last one seen at "
            f"{outcomes.time_N.max():g}; expected an event that somebody is observed beyond"
        )
    return time_T


def _complain(value_N: Array, wrong_N: Array, name: str, expected: str) -> None:
    if wrong_N.any():
        row, count = int(wrong_N.argmax()), np.count_nonzero(wrong_N)
        raise DataError(
            f"{name}: row {row} is {value_N[row]}, expected {expected} ({count} of {len(value_N)} rows like this)"
        )
