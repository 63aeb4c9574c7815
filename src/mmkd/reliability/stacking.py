"""Stacked teachers: weights of all teachers on each group, fitted together with the share of wrong captions.

A group's weights maximise the likelihood of its own captions (`stack_likelihood.py`). Small groups are drawn towards
the mean of all groups, by a normal prior whose strength the likelihood of held-out pairs chooses. A group keeps its
stack if that likelihood is above guessing by more than chance. Intervals come from a bootstrap. Pairs of one patient
or article are held out, and drawn, together. Letters: N pairs, T teachers, P = T + 1 parameters (weights, share of
wrong captions), F folds, U units that are held out and drawn together, M groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.reliability.rank_test import Correction, passes
from mmkd.reliability.stack_bootstrap import intervals
from mmkd.reliability.stack_fit import FIRST_WEIGHT, FIRST_WRONG, Prior, fit, weak_prior
from mmkd.reliability.stack_likelihood import Block, blocks_of, guessing, log_likelihood

STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0)  # precisions of the prior of a weight
SHARE = (
    30.0  # times as precise is that of the share of wrong captions: it varies from 0 to 1, weights from 0 to about 4
)


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


@dataclass(frozen=True)
class Stack:
    """The fit of a group. weight_T: of each teacher's cosines in units of their spread; slope_T: of the raw cosines.

    wrong: the share of wrong captions. low, high: 95 % intervals of slopes and share (P,). gain: held-out nats a pair
    over guessing, of the stack; gain_best: of the best single teacher. A group without stack has weights 0 and share 1.
    """

    weight_T: np.ndarray
    slope_T: np.ndarray
    wrong: float
    low_P: np.ndarray
    high_P: np.ndarray
    gain: float
    gain_best: float


def stack_pairs(
    sides: Sequence[tuple[np.ndarray, np.ndarray]],
    caption_N: np.ndarray,
    unit_N: np.ndarray,
    folds: int,
    generator: np.random.Generator,
) -> StackPairs:
    """sides: of each teacher, unit vectors of images and captions (N, D). caption_N: equal for equal captions. unit_N:
    equal for pairs of one patient or article."""
    blocks, spread_T = blocks_of(sides, caption_N, generator.permutation(len(caption_N)))
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


@dataclass(frozen=True)
class FirstFit:
    """Without what is known of other groups: parameters (P,) on all pairs and without each fold (F, P), and the
    held-out gain of the best single teacher. count: pairs."""

    all_P: np.ndarray
    without_FP: np.ndarray
    gain_best: float
    count: int


def first_fit(pairs: StackPairs) -> FirstFit:
    """Starts from the best single teacher or from equal weights, whichever is likelier."""
    singles = [_single(pairs, teacher) for teacher in np.flatnonzero(pairs.spread_T > 0)]
    start_P = max(
        [_equal_start(pairs), *(start for start, _ in singles)],
        key=lambda start: log_likelihood(pairs.blocks, start, pairs.count).sum(),
    )
    weak = weak_prior(pairs.size)
    all_P = fit(pairs.blocks, np.ones(pairs.count), weak, start_P)
    without_FP = [fit(pairs.blocks, weight_N, weak, all_P) for weight_N in pairs.trained]
    gain_best = max((gain for _, gain in singles), default=0.0)
    return FirstFit(all_P, np.array(without_FP), gain_best, pairs.count)


def _equal_start(pairs: StackPairs) -> np.ndarray:
    return np.append(np.where(pairs.spread_T > 0, FIRST_WEIGHT, 0.0), FIRST_WRONG)


def _single(pairs: StackPairs, teacher: int) -> tuple[np.ndarray, float]:
    """Parameters (P,) of the stack of one teacher alone, and its held-out gain."""
    blocks, weak = [block.of_teacher(teacher) for block in pairs.blocks], weak_prior(2)
    found = fit(blocks, np.ones(pairs.count), weak, np.array([1.0, FIRST_WRONG]))
    without = [fit(blocks, weight_N, weak, found) for weight_N in pairs.trained]
    start_P = np.zeros(pairs.size)
    start_P[[teacher, -1]] = found
    return start_P, float((_held_out(pairs, blocks, without) - guessing(blocks, pairs.count)).mean())


def _held_out(pairs: StackPairs, blocks: Sequence[Block], without: Sequence[np.ndarray]) -> np.ndarray:
    """Nats of each pair (N,) by the parameters that were fitted without its fold; guessing where nothing was held out.

    Held-out pairs are rivals of the others in the fit, but never answers.
    """
    value_N = guessing(blocks, pairs.count)
    for fold, parameter_P in enumerate(without):
        inside_N = pairs.fold_N == fold
        value_N[inside_N] = log_likelihood(blocks, parameter_P, pairs.count)[inside_N]
    return value_N


def common_prior(parameter_MP: np.ndarray, count_M: np.ndarray, strength: float) -> Prior:
    """The mean of the M groups, each by its pairs, with the precision `strength`; 0 is the weak prior."""
    weak = weak_prior(parameter_MP.shape[1])
    if strength == 0.0:
        return weak
    precision_P = np.append(np.full(len(weak.mean_P) - 1, strength), SHARE * strength)
    return Prior(np.average(parameter_MP, axis=0, weights=count_M), precision_P)


def stack_groups(
    groups: Mapping[str, StackPairs],
    z_min: float,
    correction: Correction,
    replicates: int,
    seeds: Mapping[str, int],
) -> tuple[dict[str, Stack], float]:
    """The stack of each group, and the strength of the prior that held-out pairs chose.

    z_min, correction: how far above guessing, in standard errors, the held-out likelihood of a group has to be (see
    `passes`). replicates, seeds: of each group's bootstrap.
    """
    first = {name: first_fit(pairs) for name, pairs in groups.items()}
    strengths = STRENGTHS if len(groups) > 1 else STRENGTHS[:1]
    held = {strength: _held_out_groups(groups, first, strength) for strength in strengths}
    strength = max(strengths, key=lambda one: sum(value_N.sum() for value_N in held[one].values()))
    prior = _prior_of([first[name].all_P for name in groups], first, strength)
    gain_N = {name: held[strength][name] - guessing(pairs.blocks, pairs.count) for name, pairs in groups.items()}
    z_M1 = np.array([[standard_errors(gain_N[name], pairs.unit_N)] for name, pairs in groups.items()])
    passing_M1 = passes(z_M1, z_min, correction)
    found = {}
    for (name, pairs), passing in zip(groups.items(), passing_M1[:, 0], strict=True):
        gains = float(gain_N[name].mean()), first[name].gain_best
        found[name] = (
            _stack(pairs, first[name], prior, gains, replicates, seeds[name]) if passing else _none(pairs, gains)
        )
    return found, strength


def _held_out_groups(
    groups: Mapping[str, StackPairs], first: Mapping[str, FirstFit], strength: float
) -> dict[str, np.ndarray]:
    """Held-out nats of each pair (N,) of each group. The prior of a fold comes from fits without that fold."""
    folds = max(len(one.without_FP) for one in first.values())
    priors = [_prior_of([_without(one, fold) for one in first.values()], first, strength) for fold in range(folds)]
    found = {}
    for name, pairs in groups.items():
        without = [
            fit(pairs.blocks, weight_N, prior, start_P) if strength else start_P
            for weight_N, prior, start_P in zip(pairs.trained, priors, first[name].without_FP, strict=False)
        ]
        found[name] = _held_out(pairs, pairs.blocks, without)
    return found


def _without(one: FirstFit, fold: int) -> np.ndarray:
    """Groups with fewer folds than others have no such fold: nothing of them is held out then."""
    return np.asarray(one.without_FP[fold] if fold < len(one.without_FP) else one.all_P)


def _prior_of(parameters: Sequence[np.ndarray], first: Mapping[str, FirstFit], strength: float) -> Prior:
    return common_prior(np.array(parameters), np.array([one.count for one in first.values()]), strength)


def standard_errors(gain_N: np.ndarray, unit_N: np.ndarray) -> float:
    """How many standard errors the mean gain of N pairs is above 0; units 0..U-1 are independent, not pairs.

    The probability is that of Student's t with U - 1 degrees of freedom, given as the normal deviate of the same
    probability. One unit says nothing, 0.
    """
    from scipy.special import ndtri, stdtr

    size_U = np.bincount(unit_N)
    if len(size_U) < 2:
        return 0.0
    more_U = np.bincount(unit_N, weights=gain_N) - gain_N.mean() * size_U
    error = float(np.sqrt((more_U**2).sum() * len(size_U) / (len(size_U) - 1))) / len(gain_N)
    if error == 0.0:
        return 0.0
    return float(-ndtri(stdtr(len(size_U) - 1, -gain_N.mean() / error)))


def _stack(
    pairs: StackPairs, first: FirstFit, prior: Prior, gains: tuple[float, float], replicates: int, seed: int
) -> Stack:
    parameter_P = fit(pairs.blocks, np.ones(pairs.count), prior, first.all_P)
    low_P, high_P = intervals(pairs.blocks, parameter_P, prior, pairs.unit_N, replicates, seed)
    per_cosine_T = np.divide(1.0, pairs.spread_T, out=np.zeros_like(pairs.spread_T), where=pairs.spread_T > 0)
    scale_P = np.append(per_cosine_T, 1.0)
    weight_T = np.where(pairs.spread_T > 0, parameter_P[:-1], 0.0)
    return Stack(weight_T, weight_T * per_cosine_T, float(parameter_P[-1]), low_P * scale_P, high_P * scale_P, *gains)


def _none(pairs: StackPairs, gains: tuple[float, float]) -> Stack:
    nothing_T, nothing_P = np.zeros(pairs.size - 1), np.append(np.zeros(pairs.size - 1), 1.0)
    return Stack(nothing_T, nothing_T, 1.0, nothing_P, nothing_P, *gains)
