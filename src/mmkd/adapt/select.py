"""Which method fits labelled vectors best, by inner folds that cut no group; N pictures, C classes, G groups."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mmkd.adapt.gain import Gain, gain_of
from mmkd.adapt.methods import METHODS, UNCHOSEN
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.statistics.metrics import Array, one_vs_rest

Candidate = tuple[int, int]
"""Places of the method and of its setting."""
ZERO_SHOT: Candidate = (0, 0)
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
    """gain: on the inner folds; None where there were too few groups for them. why: in words.

    logit_NC: of each picture by a fit that had not seen its group; None where there were too few groups for folds.
    """

    candidate: Candidate
    gain: Gain | None
    why: str
    logit_NC: Array | None


def choose(data: Labelled, most_folds: int, rng: np.random.Generator) -> Choice:
    """The candidate of best balanced accuracy on inner folds if its gain is clear (`gain.Gain`), else zero-shot.

    Where a class has one group only, nothing can be held out: the training-free method is taken.
    """
    folds = min(most_folds, fewest_groups(data))
    if folds < 2:
        return Choice(UNCHOSEN, None, "one group a class: nothing to choose by", None)
    logits = inner_logits(data, folds, rng)
    correct = {one: logit_NC.argmax(axis=1) == data.label_N for one, logit_NC in logits.items()}
    gains = {
        one: gain_of(right_N, correct[ZERO_SHOT], data.label_N, data.group_N, len(CANDIDATES) - 1)
        for one, right_N in correct.items()
    }
    best = max(CANDIDATES, key=lambda one: gains[one].value)  # of equal ones the first, which is the simplest
    gain, told = gains[best], f"{gains[best]}, on {folds} inner folds"
    if best == ZERO_SHOT or not gain.is_clear:
        return Choice(ZERO_SHOT, gain, f"no clear gain of any method: {told}", logits[ZERO_SHOT])
    return Choice(best, gain, told, logits[best])


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
