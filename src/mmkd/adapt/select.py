"""Which method fits labelled vectors best, by inner folds that cut no group; N pictures, C classes, G groups."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mmkd.adapt.methods import METHODS, UNCHOSEN
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.statistics.metrics import Array, balanced_accuracy, one_vs_rest

Candidate = tuple[int, int]
"""Places of the method and of its setting."""
ZERO_SHOT: Candidate = (0, 0)
CONFIDENCE = 0.95  # that a published gain is one
CANDIDATES: tuple[Candidate, ...] = tuple((m, s) for m, one in enumerate(METHODS) for s in range(len(one.settings)))


@dataclass(frozen=True, eq=False)
class Labelled:
    """Vectors (N, D), classes (N,) and groups (N,; numbers) of pictures; text_CD: the vectors of the classes' prompts.

    scale: what the model multiplies cosines with.
    """

    vector_ND: Array
    label_N: Array
    group_N: Array
    text_CD: Array
    scale: float

    def only(self, rows: Array) -> "Labelled":
        return Labelled(self.vector_ND[rows], self.label_N[rows], self.group_N[rows], self.text_CD, self.scale)

    def fitted(self, candidate: Candidate) -> Array:
        """Weights (C, D)."""
        method, setting = candidate
        return METHODS[method].fit(self.vector_ND, self.label_N, self.text_CD, self.scale)[setting]


@dataclass(frozen=True, eq=False)
class Choice:
    """gain: of balanced accuracy over zero-shot on the inner folds, and its standard error. why: in words.

    logit_NC: of each picture by a fit that had not seen its group; None where there were too few groups for folds.
    """

    candidate: Candidate
    gain: float
    error: float
    why: str
    logit_NC: Array | None


def choose(data: Labelled, most_folds: int, rng: np.random.Generator) -> Choice:
    """The candidate of best balanced accuracy on inner folds if its gain is above zero, else zero-shot.

    Above zero: the lower end of the gain's one-sided interval, for as many candidates as it is the best of. Where a
    class has one group only, nothing can be held out: the training-free method is taken.
    """
    folds = min(most_folds, fewest_groups(data))
    if folds < 2:
        return Choice(UNCHOSEN, 0.0, 0.0, "one group a class: nothing to choose by", None)
    logits = inner_logits(data, folds, rng)
    once_1N = np.ones((1, len(data.label_N)))
    correct = {one: logit_NC.argmax(axis=1) == data.label_N for one, logit_NC in logits.items()}
    score = {one: float(balanced_accuracy(found_N, data.label_N, once_1N)[0]) for one, found_N in correct.items()}
    best = max(CANDIDATES, key=lambda one: score[one])  # of equal ones the first, which is the simplest
    gain, error = score[best] - score[ZERO_SHOT], gain_error(correct[best], correct[ZERO_SHOT], data)
    low = lower_end(gain, error, len(np.unique(data.group_N)), len(CANDIDATES) - 1)
    told = (
        f"{100 * gain:+.1f} points on {folds} inner folds, {100 * low:+.1f} at the lower end of the one-sided "
        f"{CONFIDENCE:.0%} interval for the best of {len(CANDIDATES) - 1}"
    )
    if best == ZERO_SHOT or low <= 0:
        return Choice(ZERO_SHOT, gain, error, f"no clear gain of any method: {told}", logits[ZERO_SHOT])
    return Choice(best, gain, error, told, logits[best])


def inner_logits(data: Labelled, folds: int, rng: np.random.Generator) -> dict[Candidate, Array]:
    """Of each candidate, the logits of every picture by the fit on the other folds; (N, C)."""
    fold_N = stratified_group_folds(one_vs_rest(data.label_N, len(data.text_CD)), data.group_N, folds, rng)
    found = {one: np.zeros((len(fold_N), len(data.text_CD)), np.float32) for one in CANDIDATES}
    for fold in np.unique(fold_N):
        held_N = fold_N == fold
        part = data.only(~held_N)
        for m, method in enumerate(METHODS):
            weights = method.fit(part.vector_ND, part.label_N, part.text_CD, part.scale)
            for s, weight_CD in enumerate(weights):
                found[m, s][held_N] = data.vector_ND[held_N] @ weight_CD.T
    return found


def gain_error(first_N: Array, second_N: Array, data: Labelled) -> float:
    """Standard error of the difference of balanced accuracies, with groups as what is sampled: the square root of
    G / (G - 1) times the sum of squares of the groups' parts in the difference, less their mean."""
    count_C = np.bincount(data.label_N, minlength=len(data.text_CD))
    share_N = 1 / (count_C[data.label_N] * np.count_nonzero(count_C))
    _, number_N = np.unique(data.group_N, return_inverse=True)
    part_G = np.bincount(number_N, share_N * (first_N.astype(float) - second_N.astype(float)))
    return float(np.sqrt(((part_G - part_G.mean()) ** 2).sum() * len(part_G) / max(1, len(part_G) - 1)))


def lower_end(gain: float, error: float, groups: int, candidates: int) -> float:
    """Of the one-sided interval of a gain that is the best of some candidates: Student's t, as Bonferroni widens it."""
    from scipy.special import stdtrit

    return gain - error * float(stdtrit(max(1, groups - 1), 1 - (1 - CONFIDENCE) / candidates))


def draw_shots(data: Labelled, rows: Array, shots: int | None, rng: np.random.Generator) -> Array:
    """Rows of `shots` pictures a class at random, of as many groups as there are; all rows where shots is None."""
    if shots is None:
        return rows
    taken: list[int] = []
    for label in range(len(data.text_CD)):
        own = rng.permutation(rows[data.label_N[rows] == label])
        met: Counter[int] = Counter()
        turn = []  # whether it is the first of its group, the second, ...
        for group in data.group_N[own].tolist():
            turn.append(met[group])
            met[group] += 1
        taken += own[np.argsort(turn, kind="stable")][:shots].tolist()
    return np.array(sorted(taken), np.int64)


def fewest_groups(data: Labelled) -> int:
    """Of any class that there are pictures of: in so many folds each class can lie."""
    present = np.unique(data.label_N)
    return min(len(np.unique(data.group_N[data.label_N == label])) for label in present)
