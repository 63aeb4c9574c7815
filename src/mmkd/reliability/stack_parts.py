"""Partial pooling: stacks of the parts of a group, drawn towards the stack of the whole.

A part asks another question than the whole, so how sharp its stack is and how many of its captions are wrong is its
own. What it takes from the whole is the ratio of the teachers' weights (`LinePrior`). How strongly, the likelihood of
the part's held-out pairs chooses: one of few patients keeps the ratio of the whole. Letters: N pairs, T teachers, F
folds, P = T + 1 parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.stack_fit import FIRST_LEVEL, AnyPrior, LinePrior, fit, weak_prior
from mmkd.reliability.stack_likelihood import guessing, log_likelihood
from mmkd.reliability.stack_pairs import StackPairs

POOLED = 1e4  # precision at which the ratio of the weights is the whole's
STRENGTHS = (POOLED, 1000.0, 100.0, 10.0, 1.0, 0.0)  # of equally likely ones the first is taken


@dataclass(frozen=True)
class Whole:
    """What parts are drawn towards. name: of the group. slope_T: of its stack; slope_FT: without each fold."""

    name: str
    slope_T: np.ndarray
    slope_FT: np.ndarray


def part_prior(pairs: StackPairs, slope_T: np.ndarray, strength: float) -> AnyPrior:
    """The prior of a part; slope_T: of the whole's raw cosines. A whole without a stack has nothing to say."""
    weight_T = slope_T * pairs.spread_T
    return LinePrior(weight_T, strength) if strength and weight_T.any() else weak_prior(pairs.size)


def fit_part(
    pairs: StackPairs, weight_N: np.ndarray, slope_T: np.ndarray, strength: float, start_P: np.ndarray
) -> np.ndarray:
    """The parameters (P,) of a part, each pair counted weight_N times. start_P: where the fit starts; where the whole
    has almost all to say, on its line."""
    if strength >= POOLED:
        start_P = np.append(slope_T * pairs.spread_T, start_P[-1] or FIRST_LEVEL)
    return fit(pairs.blocks, weight_N, part_prior(pairs, slope_T, strength), start_P)


def held_out_part(
    pairs: StackPairs, slope_FT: np.ndarray, strength: float, start_FP: Sequence[np.ndarray] | np.ndarray
) -> np.ndarray:
    """Nats of each pair of a part (N,), by fits of part and whole without its fold; guessing where nothing was held
    out. start_FP: where the fits without each fold start."""
    value_N = guessing(pairs.blocks, pairs.count)
    for fold, (weight_N, start_P) in enumerate(zip(pairs.trained, start_FP, strict=False)):
        inside_N = pairs.fold_N == fold
        if inside_N.any():
            parameter_P = fit_part(pairs, weight_N, slope_FT[fold], strength, start_P)
            value_N[inside_N] = log_likelihood(pairs.blocks, parameter_P, pairs.count)[inside_N]
    return value_N


@dataclass(frozen=True)
class Pooling:
    """What a part takes from its whole. strength: the chosen one. held_N: held-out nats of its pairs with it; pooled_N:
    with the whole's ratio of the weights."""

    strength: float
    held_N: np.ndarray
    pooled_N: np.ndarray


def choose_pooling(
    pairs: StackPairs,
    slope_FT: np.ndarray,
    start_FP: Sequence[np.ndarray] | np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
) -> Pooling:
    """The strength, POOLED among them, at which the held-out pairs of a part are likeliest; see `held_out_part`."""
    held = {strength: held_out_part(pairs, slope_FT, strength, start_FP) for strength in strengths}
    best = max(held, key=lambda strength: float(held[strength].sum()))
    return Pooling(best, held[best], held[POOLED])
