"""The pairs of a group that a stack is fitted on, and their folds, which cut no patient or article.

Letters: N pairs, D dimension, T teachers, F folds, U units (patients, articles) that are held out together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.stack_likelihood import Block, blocks_of


@dataclass(frozen=True)
class StackPairs:
    """The pairs of a group. blocks, spread_T: see `blocks_of`. unit_N: numbers of patients or articles. fold_N: the
    fold of each pair, -1 for all where there is one unit only and nothing can be held out."""

    blocks: list[Block]
    spread_T: np.ndarray
    unit_N: np.ndarray
    fold_N: np.ndarray

    @property
    def count(self) -> int:
        return len(self.unit_N)

    @property
    def size(self) -> int:
        """The number of parameters."""
        return len(self.spread_T) + 1

    @property
    def trained(self) -> list[np.ndarray]:
        """For each fold, the weight of each pair in the fit without it (N,)."""
        return [(self.fold_N != fold).astype(np.float64) for fold in range(int(self.fold_N.max()) + 1)]


def stack_pairs(
    sides: Sequence[tuple[np.ndarray, np.ndarray]],
    unit_N: np.ndarray,
    folds: int,
    generator: np.random.Generator,
) -> StackPairs:
    """sides: of each teacher, unit vectors of images and captions (N, D). unit_N: equal for pairs of one patient or
    article. Fewer than two pairs have no blocks."""
    if len(unit_N) < 2:
        return StackPairs([], np.zeros(len(sides)), np.arange(len(unit_N)), np.full(len(unit_N), -1))
    blocks, spread_T = blocks_of(sides, generator.permutation(len(unit_N)))
    _, number_N = np.unique(unit_N, return_inverse=True)
    return StackPairs(blocks, spread_T, number_N, folds_of(number_N, folds, generator))


def folds_of(unit_N: np.ndarray, folds: int, generator: np.random.Generator) -> np.ndarray:
    """A fold of each pair (N,), numbered from 0; units 0..U-1 are never cut, and folds are about equally large.

    The largest unit first, each goes to the smallest fold; equal ones in random order. Fewer units than folds make as
    many folds; a single unit is none, -1.
    """
    size_U = np.bincount(unit_N)
    if len(size_U) < 2:
        return np.full(len(unit_N), -1)
    order_U = generator.permutation(len(size_U))
    fold_U, filled_F = np.empty(len(size_U), dtype=np.int64), np.zeros(min(folds, len(size_U)), dtype=np.int64)
    for unit in order_U[np.argsort(-size_U[order_U], kind="stable")]:
        fold_U[unit] = filled_F.argmin()
        filled_F[fold_U[unit]] += size_U[unit]
    return np.asarray(fold_U[unit_N])


def variance_of_mean(gain_N: np.ndarray, unit_N: np.ndarray) -> float:
    """Of the mean gain of N pairs, when units 0..U-1 are independent and their pairs are not; infinite for one unit.

    The linearised variance of a ratio: units differ in how many pairs they have.
    """
    size_U = np.bincount(unit_N)
    if len(size_U) < 2:
        return math.inf
    more_U = np.bincount(unit_N, weights=gain_N) - gain_N.mean() * size_U
    return float((more_U**2).sum()) * len(size_U) / (len(size_U) - 1) / len(gain_N) ** 2
