"""Which slides train, stop the training and test: the official splits, or folds that never cut a patient.

N slides, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.cards.samples import SPLITS, Sample, Split
from mmkd.errors import DataError
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.statistics.bootstrap import group_numbers
from mmkd.statistics.metrics import Array, one_vs_rest

INNER = 5  # one fold of this many is taken from the training slides to end the training by


@dataclass(frozen=True, eq=False)
class Fold:
    """Places of slides. val: for decisions in training; None where there are too few patients to spare some."""

    train: Array
    val: Array | None
    test: Array


def slide_folds(
    samples: Sequence[Sample], classes: Sequence[str], folds: int, rng: np.random.Generator
) -> tuple[list[Fold], str]:
    """The folds, and in words how they were made; every slide that is tested is so once.

    Where samples have the splits train and test, that is the only fold. Otherwise all samples are dealt into folds,
    stratified by class; a patient (`group`) lies in one fold. Without an official val split a part of the training
    patients is taken for it. Raises DataError where a class is tested that has no slides to train on, or where a
    patient lies on both sides of an official split.
    """
    label_N = np.array([sample.label for sample in samples])
    number_N = group_numbers([sample.group for sample in samples])
    place = {split: np.array([n for n, s in enumerate(samples) if s.split == split], np.int64) for split in SPLITS}
    if len(place["train"]) and len(place["test"]):
        _check_apart(samples, place)
        made = [Fold(place["train"], place["val"] if len(place["val"]) else None, place["test"])]
        words = "official split"
    else:
        fold_N = stratified_group_folds(one_vs_rest(label_N, len(classes)), number_N, folds, rng)
        used = np.unique(fold_N)
        made = [Fold(np.flatnonzero(fold_N != fold), None, np.flatnonzero(fold_N == fold)) for fold in used]
        words = f"{len(used)} folds by patient"
    for fold in made:
        _check_trainable(fold, label_N, classes)
    return [_with_val(fold, label_N, number_N, rng) for fold in made], words


def _with_val(fold: Fold, label_N: Array, number_N: Array, rng: np.random.Generator) -> Fold:
    """With one inner fold of the training patients as val, if both parts then have all of their classes."""
    if fold.val is not None:
        return fold
    label_M, number_M = label_N[fold.train], number_N[fold.train]
    seen = np.unique(label_M)
    inner_M = stratified_group_folds(label_M[:, None] == seen, np.unique(number_M, return_inverse=True)[1], INNER, rng)
    for inner in range(INNER):
        held_M = inner_M == inner
        if all(set(label_M[part_M]) == set(seen) for part_M in (held_M, ~held_M)):
            return Fold(fold.train[~held_M], fold.train[held_M], fold.test)
    return fold


def _check_trainable(fold: Fold, label_N: Array, classes: Sequence[str]) -> None:
    lost = sorted(set(label_N[fold.test]) - set(label_N[fold.train]))
    if lost:
        raise DataError(
            f"class {classes[lost[0]]!r} has slides to test but none to train on; every class needs slides of at least "
            "two patients, or some in the card's train split"
        )


def _check_apart(samples: Sequence[Sample], place: Mapping[Split, Array]) -> None:
    groups = {split: {samples[n].group for n in rows} - {""} for split, rows in place.items()}
    for split in SPLITS[:2]:
        if shared := sorted(groups[split] & groups["test"]):
            raise DataError(f"{len(shared)} groups lie in {split} and in test, such as {shared[0]!r}; mend the split")
