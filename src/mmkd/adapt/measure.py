"""What few labels are worth: on outer folds that choose nothing; N pictures, M tested ones, S seeds, B replicates."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.adapt.methods import METHODS
from mmkd.adapt.select import Labelled, choose, draw_shots
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.progress import track
from mmkd.randomness import Purpose, generator
from mmkd.statistics.bootstrap import percentile_interval, plan_draws, replicate
from mmkd.statistics.metrics import Array, accuracy, balanced_accuracy, one_vs_rest

UNTESTED = -1  # the fold of pictures that train only
REPLICATES = 2000
CONFIDENCE = 0.95
METRICS = ("balanced_accuracy", "accuracy")


@dataclass(frozen=True)
class Protocol:
    """shots: labels a class, None for all. seeds: draws of the shots. folds: outer ones, where the table has no split
    test. inner_folds: at most, to choose on."""

    shots: tuple[int | None, ...] = (1, 4, 16, None)
    seeds: int = 3
    folds: int = 5
    inner_folds: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Value:
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Measured:
    """What so many labels a class give on the tested pictures, each predicted by a fit that has not seen its group.

    labels: that were used, on average over the fits. zero_shot, adapted, gain: metric -> mean over the seeds with its
    interval. spread: lowest and highest gain in balanced accuracy among the seeds. methods: what was chosen, how often.
    """

    name: str
    labels: float
    tested: int
    zero_shot: dict[str, Value]
    adapted: dict[str, Value]
    gain: dict[str, Value]
    spread: tuple[float, float]
    methods: dict[str, int]
    seconds: float

    @property
    def verdict(self) -> str:
        """Whether the interval of the gain in balanced accuracy says better, worse or neither."""
        gain = self.gain[METRICS[0]]
        if gain.low is None or gain.high is None:
            return "unknown"
        return "better" if gain.low > 0 else "worse" if gain.high < 0 else "no clear difference"


def outer_folds(data: Labelled, test_N: Array, folds: int, seed: int) -> tuple[Array, str]:
    """The fold of each picture, UNTESTED for those that are only learnt from, and in words how they were made."""
    if test_N.any():
        return np.where(test_N, 0, UNTESTED), "official split: the rows of test"
    member_NC = one_vs_rest(data.label_N, len(data.text_CD))
    fold_N = stratified_group_folds(member_NC, data.group_N, folds, generator(seed, Purpose.ADAPT_OUTER_FOLDS))
    return fold_N, f"{len(np.unique(fold_N))} outer folds that cut no group"


def measure(data: Labelled, fold_N: Array, protocol: Protocol) -> list[Measured]:
    """A row for each number of shots."""
    total = len(protocol.shots)
    return [
        _of_shots(data, fold_N, shots, protocol)
        for shots in track(protocol.shots, "adapt", total, "numbers of labels a class")
    ]


def _of_shots(data: Labelled, fold_N: Array, shots: int | None, protocol: Protocol) -> Measured:
    start = time.perf_counter()
    seeds = range(1 if shots is None else protocol.seeds)
    correct_SN = np.zeros((len(seeds), len(fold_N)), np.bool_)
    labels, methods = [], Counter[str]()
    for seed in seeds:
        for fold in np.unique(fold_N[fold_N != UNTESTED]).tolist():
            rng = generator(protocol.seed, Purpose.ADAPT_SHOTS, shots or 0, seed, fold)
            held_N = fold_N == fold
            part = data.only(draw_shots(data, np.flatnonzero(~held_N), shots, rng))
            candidate = choose(part, protocol.inner_folds, rng).candidate
            labels.append(len(part.label_N))
            methods[METHODS[candidate[0]].name] += 1
            logit_MC = data.vector_ND[held_N] @ part.fitted(candidate).T
            correct_SN[seed, held_N] = logit_MC.argmax(axis=1) == data.label_N[held_N]
    tested_N = fold_N != UNTESTED
    tested = data.only(tested_N)
    compared = compare(correct_SN[:, tested_N], zero_shot_correct(tested), tested, protocol.seed)
    name = "all" if shots is None else str(shots)
    return Measured(
        name, float(np.mean(labels)), int(tested_N.sum()), *compared, dict(methods), time.perf_counter() - start
    )


def compare(
    correct_SM: Array, zero_shot_M: Array, tested: Labelled, seed: int
) -> tuple[dict[str, Value], dict[str, Value], dict[str, Value], tuple[float, float]]:
    """zero_shot, adapted, gain and spread of `Measured`: paired bootstrap over groups, or over pictures of each class
    where no group has several."""
    label_M = tested.label_N

    def values(weight_BM: Array) -> dict[Any, Array]:
        found: dict[Any, Array] = {}
        for metric in METRICS:
            found["zero_shot", metric] = _metric(metric, zero_shot_M, label_M, weight_BM)
            each = [_metric(metric, correct_M, label_M, weight_BM) for correct_M in correct_SM]
            found["adapted", metric] = np.mean(each, axis=0)
            found["gain", metric] = found["adapted", metric] - found["zero_shot", metric]
            found["each", metric] = np.stack(each, axis=-1)
        return found

    draws = plan_draws(group_names(tested.group_N), label_M, REPLICATES, (seed,))
    drawn, plain = replicate(values, draws), values(np.ones((1, len(label_M))))

    def of(what: str) -> dict[str, Value]:
        found = {}
        for metric in METRICS:
            interval = percentile_interval(drawn[what, metric], CONFIDENCE)
            found[metric] = Value(float(plain[what, metric][0]), interval.low, interval.high)
        return found

    gains = plain["each", METRICS[0]][0] - plain["zero_shot", METRICS[0]][0]
    return of("zero_shot"), of("adapted"), of("gain"), (float(gains.min()), float(gains.max()))


def group_names(group_N: Array) -> Sequence[str]:
    """As `plan_draws` wants them: "" for a picture that is a group of its own."""
    count = Counter(group_N.tolist())
    return [str(group) if count[group] > 1 else "" for group in group_N.tolist()]


def _metric(metric: str, correct_M: Array, label_M: Array, weight_BM: Array) -> Array:
    if metric == "accuracy":
        return accuracy(correct_M, weight_BM)
    return balanced_accuracy(correct_M, label_M, weight_BM)


def zero_shot_correct(tested: Labelled) -> Array:
    """Whether each picture's best prompt is that of its class; (M,)."""
    return np.asarray((tested.vector_ND @ tested.text_CD.T).argmax(axis=1) == tested.label_N)
