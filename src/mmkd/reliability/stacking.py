"""Stacked teachers: weights of all teachers on each group, fitted together with the share of wrong captions.

A group's weights maximise the likelihood of its own captions (`stack_likelihood.py`). Small groups are drawn towards
the mean of all groups, by a normal prior whose strength the likelihood of held-out pairs chooses; parts of a group are
drawn towards the stack of the whole instead (`stack_parts.py`). A group keeps its stack if that likelihood is above
guessing by more than chance. Intervals come from a bootstrap. Pairs of one patient or article are held out, and drawn,
together. Letters: N pairs, T teachers, P = T + 1 parameters (weights, level), F folds, U units that are held out and
drawn together, M groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmkd.reliability.rank_test import Correction, passes, shrunk
from mmkd.reliability.stack_bootstrap import intervals
from mmkd.reliability.stack_fit import FIRST_LEVEL, FIRST_WEIGHT, AnyPrior, Prior, fit, weak_prior
from mmkd.reliability.stack_likelihood import Block, guessing, log_likelihood, own_z, right_captions
from mmkd.reliability.stack_pairs import StackPairs, variance_of_mean
from mmkd.reliability.stack_parts import Whole, choose_pooling, part_prior

STRENGTHS = (0.0, 0.3, 1.0, 3.0, 10.0)  # precisions of the prior; 0 is the weak one
NO_VARIANCE = 1e-12  # of gains that are all 0


@dataclass(frozen=True)
class Stack:
    """The fit of a group.

    count: pairs. weight_T: of each teacher's cosines in units of their spread; slope_T: of the raw cosines. wrong: the
    share of wrong captions. low, high: 95 % intervals of slopes and share (P,). gain: held-out nats a pair over
    guessing, of the stack; gain_best: of the best single teacher. whole: the group that this one is a part of, "" for
    none; gain_whole: the gain with the ratio of the weights of the whole. A group without stack has weights 0 and
    share 1.
    """

    count: int
    weight_T: np.ndarray
    slope_T: np.ndarray
    wrong: float
    low_P: np.ndarray
    high_P: np.ndarray
    gain: float
    gain_best: float
    whole: str = ""
    gain_whole: float = 0.0


@dataclass(frozen=True)
class Strengths:
    """What held-out pairs chose. groups: precision of the prior towards the mean of all groups. parts: of that of each
    part towards the line of the whole's weights."""

    groups: float
    parts: Mapping[str, float] = field(default_factory=dict)


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
    singles = [_single(pairs, teacher) for teacher in np.flatnonzero(pairs.spread_T > 0).tolist()]
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
    return np.append(np.where(pairs.spread_T > 0, FIRST_WEIGHT, 0.0), FIRST_LEVEL)


def _single(pairs: StackPairs, teacher: int) -> tuple[np.ndarray, float]:
    """Parameters (P,) of the stack of one teacher alone, and its held-out gain."""
    blocks, weak = [block.of_teacher(teacher) for block in pairs.blocks], weak_prior(2)
    found = fit(blocks, np.ones(pairs.count), weak, np.array([1.0, FIRST_LEVEL]))
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
    size = parameter_MP.shape[1]
    if strength == 0.0:
        return weak_prior(size)
    return Prior(np.average(parameter_MP, axis=0, weights=count_M), np.full(size, strength))


def stack_groups(
    groups: Mapping[str, StackPairs],
    z_min: float,
    correction: Correction,
    replicates: int,
    seeds: Mapping[str, int],
    wholes: Mapping[str, Whole] | None = None,
) -> tuple[dict[str, Stack], Strengths]:
    """The stack of each group, and the strengths of the priors that held-out pairs chose.

    z_min, correction: how far above guessing, in standard errors, the held-out likelihood of a group has to be (see
    `passes`). replicates, seeds: of each group's bootstrap. wholes: of the groups that are parts of another; the parts
    of one whole have to be above guessing together.
    """
    wholes = wholes or {}
    fitted = {name: pairs for name, pairs in groups.items() if pairs.count >= 2}
    first = {name: first_fit(pairs) for name, pairs in fitted.items()}
    strength, held = _chosen({name: pairs for name, pairs in fitted.items() if name not in wholes}, first)
    pooling = {
        name: choose_pooling(pairs, wholes[name].slope_FT, first[name].without_FP)
        for name, pairs in fitted.items()
        if name in wholes
    }
    held |= {name: one.held_N for name, one in pooling.items()}
    prior = _prior_of([one.all_P for one in first.values()], first, strength) if first else weak_prior(1)
    gain_N = {name: held[name] - guessing(pairs.blocks, pairs.count) for name, pairs in fitted.items()}
    passing = _passing(fitted, gain_N, wholes, z_min, correction)
    found = {}
    for name, pairs in groups.items():
        gains = (float(gain_N[name].mean()), first[name].gain_best) if name in fitted else (0.0, 0.0)
        if name in passing:
            drawn = part_prior(pairs, wholes[name].slope_T, pooling[name].strength) if name in wholes else prior
            stack = _stack(pairs, first[name], drawn, gains, replicates, seeds[name])
        else:
            stack = _none(pairs, gains)
        found[name] = _of_whole(stack, wholes[name], pairs, pooling[name].pooled_N) if name in pooling else stack
    return found, Strengths(strength, {name: one.strength for name, one in pooling.items()})


def _passing(
    groups: Mapping[str, StackPairs],
    gain_N: Mapping[str, np.ndarray],
    wholes: Mapping[str, Whole],
    z_min: float,
    correction: Correction,
) -> set[str]:
    """The groups whose held-out gain is above that of guessing; the parts of one whole together, as one group."""
    together: dict[tuple[bool, str], list[str]] = {}
    for name in groups:
        together.setdefault((name in wholes, wholes[name].name if name in wholes else name), []).append(name)
    gains = [np.concatenate([gain_N[name] for name in names]) for names in together.values()]
    # a patient of two parts counts as two there: parts number their units apart
    units = [_numbered([groups[name].unit_N for name in names]) for names in together.values()]
    passes_M = passes(standard_errors(gains, units)[:, None], z_min, correction)[:, 0]
    return {name for names, one in zip(together.values(), passes_M.tolist(), strict=True) if one for name in names}


def _numbered(units: Sequence[np.ndarray]) -> np.ndarray:
    first, parts = 0, []
    for unit_N in units:
        parts.append(unit_N + first)
        first += int(unit_N.max()) + 1
    return np.concatenate(parts)


def _of_whole(stack: Stack, whole: Whole, pairs: StackPairs, pooled_N: np.ndarray) -> Stack:
    gain_N = pooled_N - guessing(pairs.blocks, pairs.count)
    return replace(stack, whole=whole.name, gain_whole=float(gain_N.mean()))


def _chosen(groups: Mapping[str, StackPairs], first: Mapping[str, FirstFit]) -> tuple[float, dict[str, np.ndarray]]:
    """The strength at which held-out pairs of all groups are likeliest, and their nats (N,) of each group."""
    strengths = STRENGTHS if len(groups) > 1 else STRENGTHS[:1]
    held = {strength: _held_out_groups(groups, first, strength) for strength in strengths}
    strength = max(held, key=lambda one: sum(float(value_N.sum()) for value_N in held[one].values()))
    return strength, held[strength]


def _held_out_groups(
    groups: Mapping[str, StackPairs], first: Mapping[str, FirstFit], strength: float
) -> dict[str, np.ndarray]:
    """Held-out nats of each pair (N,) of each group. The prior of a fold comes from fits without that fold."""
    folds = max((len(one.without_FP) for one in first.values()), default=0)
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


def standard_errors(gains: Sequence[np.ndarray], units: Sequence[np.ndarray]) -> np.ndarray:
    """How far above 0 the mean gain of each of M groups is expected to be, in standard deviations (M,).

    gains, units: of the pairs of each group (N,). As in the rank test, what was measured on few pairs is drawn towards
    the mean of all groups. The variance of a group's pairs is at least that of all groups' pairs: of few it is often 0.
    """
    if not gains:
        return np.zeros(0)
    count_M, mean_M = np.array([len(gain_N) for gain_N in gains]), np.array([gain_N.mean() for gain_N in gains])
    own_M = np.array([variance_of_mean(*one) for one in zip(gains, units, strict=True)])
    finite_M = np.isfinite(own_M)
    of_pair = (own_M * count_M**2)[finite_M].sum() / max(1, count_M[finite_M].sum())
    variance_M = np.maximum(own_M, np.maximum(of_pair, NO_VARIANCE) / count_M)
    expected_M1, deviation_M1 = shrunk(mean_M[:, None], variance_M[:, None])
    return np.asarray((expected_M1 / deviation_M1)[:, 0])


def _stack(
    pairs: StackPairs, first: FirstFit, prior: AnyPrior, gains: tuple[float, float], replicates: int, seed: int
) -> Stack:
    parameter_P = fit(pairs.blocks, np.ones(pairs.count), prior, first.all_P)
    low_P, high_P = intervals(pairs.blocks, parameter_P, prior, pairs.unit_N, replicates, seed)
    per_cosine_T = np.divide(1.0, pairs.spread_T, out=np.zeros_like(pairs.spread_T), where=pairs.spread_T > 0)
    scale_P = np.append(per_cosine_T, 1.0)
    weight_T = np.where(pairs.spread_T > 0, parameter_P[:-1], 0.0)
    wrong = 1.0 - float(right_captions(own_z(pairs.blocks, pairs.count), parameter_P).mean())
    return Stack(pairs.count, weight_T, weight_T * per_cosine_T, wrong, low_P * scale_P, high_P * scale_P, *gains)


def _none(pairs: StackPairs, gains: tuple[float, float]) -> Stack:
    nothing_T, nothing_P = np.zeros(pairs.size - 1), np.append(np.zeros(pairs.size - 1), 1.0)
    return Stack(pairs.count, nothing_T, nothing_T, 1.0, nothing_P, nothing_P, *gains)
