"""Whether a gain over zero-shot is one: the one rule by which every method of `mmkd adapt` is published or not.

N pictures, C classes, G groups.
"""

from dataclasses import dataclass

import numpy as np

from mmkd.statistics.metrics import Array, balanced_accuracy

CONFIDENCE = 0.95  # that a published gain is one


@dataclass(frozen=True)
class Gain:
    """Of balanced accuracy over zero-shot on pictures that no fit had seen. error: its standard error. low: lower end
    of its one-sided interval, for the best of so many candidates."""

    value: float
    error: float
    low: float
    candidates: int

    @property
    def is_clear(self) -> bool:
        return self.low > 0

    def __str__(self) -> str:
        best = f" for the best of {self.candidates} candidates" if self.candidates > 1 else ""
        return (
            f"{100 * self.value:+.1f} points, {100 * self.low:+.1f} at the lower end of the one-sided {CONFIDENCE:.0%} "
            f"interval{best}"
        )


def gain_of(first_N: Array, second_N: Array, label_N: Array, group_N: Array, candidates: int) -> Gain:
    """first_N, second_N: whether each picture is right, by the candidate and by zero-shot. candidates: of which the
    first is the best, seen on these pictures."""
    once_1N = np.ones((1, len(label_N)))
    value, before = (float(balanced_accuracy(right_N, label_N, once_1N)[0]) for right_N in (first_N, second_N))
    error = gain_error(first_N, second_N, label_N, group_N)
    low = lower_end(value - before, error, len(np.unique(group_N)), candidates)
    return Gain(value - before, error, low, candidates)


def gain_error(first_N: Array, second_N: Array, label_N: Array, group_N: Array) -> float:
    """Standard error of the difference of balanced accuracies, with groups as what is sampled: the square root of
    G / (G - 1) times the sum of squares of the groups' parts in the difference, less their mean."""
    count_C = np.bincount(label_N)
    share_N = 1 / (count_C[label_N] * np.count_nonzero(count_C))
    _, number_N = np.unique(group_N, return_inverse=True)
    part_G = np.bincount(number_N, share_N * (first_N.astype(float) - second_N.astype(float)))
    return float(np.sqrt(((part_G - part_G.mean()) ** 2).sum() * len(part_G) / max(1, len(part_G) - 1)))


def lower_end(gain: float, error: float, groups: int, candidates: int) -> float:
    """Of the one-sided interval of a gain that is the best of some candidates: Student's t, as Bonferroni widens it."""
    if groups < 2:
        return -float("inf")  # how groups differ is not known
    from scipy.special import stdtrit

    return gain - error * float(stdtrit(groups - 1, 1 - (1 - CONFIDENCE) / candidates))
