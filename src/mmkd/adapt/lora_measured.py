"""What LoRA is worth on the outer folds, and the tower that is published; N pictures, M tested ones."""

import time

import numpy as np

from mmkd.adapt.lora import METHOD, ImageTower, Tuned
from mmkd.adapt.measure import UNTESTED, Measured, Protocol, compare, zero_shot_correct
from mmkd.adapt.select import Labelled, fewest_groups
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.progress import track
from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array, one_vs_rest

HELD_OUT = 5  # one of at most so many parts of the groups ends the training


def tune(tower: ImageTower, data: Labelled, pixel_NCHW: Array, seed: int, fold: int) -> Tuned:
    """A part of the groups ends the training, the others are trained on. fold: tells the runs of a seed apart."""
    rng = generator(seed, Purpose.LORA_HELD_OUT, fold + 1)  # UNTESTED, of the published tower, is -1
    parts = max(2, min(HELD_OUT, fewest_groups(data)))  # so that each class is held out, too
    part_N = stratified_group_folds(one_vs_rest(data.label_N, len(data.text_CD)), data.group_N, parts, rng)
    return tower.tune(data, pixel_NCHW, part_N == 0, seed)


def measure_lora(tower: ImageTower, data: Labelled, pixel_NCHW: Array, fold_N: Array, protocol: Protocol) -> Measured:
    """A row beside those of `measure`, of all labels."""
    start, labels, changed = time.perf_counter(), [], 0
    folds = np.unique(fold_N[fold_N != UNTESTED])
    correct_1N = np.zeros((1, len(fold_N)), np.bool_)
    for fold in track(folds.tolist(), METHOD, len(folds), "folds"):
        held_N = fold_N == fold
        tuned = tune(tower, data.only(~held_N), pixel_NCHW[~held_N], protocol.seed, fold)
        logit_MC = tower.vectors(pixel_NCHW[held_N]) @ data.text_CD.T
        correct_1N[0, held_N] = logit_MC.argmax(axis=1) == data.label_N[held_N]
        labels.append(int((~held_N).sum()))
        changed += tuned.epoch > 0
    tested_N = fold_N != UNTESTED
    tested = data.only(tested_N)
    compared = compare(correct_1N[:, tested_N], zero_shot_correct(tested), tested, protocol.seed)
    chosen = {METHOD: changed, "zero-shot": len(folds) - changed}
    used = {name: count for name, count in chosen.items() if count}
    name, seconds = f"all, {METHOD}", time.perf_counter() - start
    return Measured(name, float(np.mean(labels)), int(tested_N.sum()), *compared, used, seconds)
