"""Slides classified from the features of their tiles, each by models that never saw its patient.

N slides, T tiles of one, D features, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmkd.cards.samples import Sample
from mmkd.errors import DataError
from mmkd.evaluation.heads.attention import Training, attend, balanced_cross_entropy, fit_attention
from mmkd.evaluation.heads.logistic import choose_and_fit
from mmkd.evaluation.heads.settings import SlideSettings
from mmkd.evaluation.slides.folds import Fold
from mmkd.randomness import Purpose, generator, torch_generator
from mmkd.statistics.metrics import Array


@dataclass(frozen=True, eq=False)
class SlideScores:
    """Of the slides that were tested: their places among all, class probabilities of both ways to pool, float32
    (N, C), and the attention on the tiles of each, which adds up to one."""

    tested_N: Array
    mean_NC: Array
    attention_NC: Array
    weights: list[Array]


def classify(
    bags: Sequence[Array],
    samples: Sequence[Sample],
    classes: int,
    folds: Sequence[Fold],
    settings: SlideSettings,
    seed: int,
) -> SlideScores:
    """Fit both classifiers in every fold and predict its test slides; in the order of the samples.

    bags: the features of each slide's tiles, (T, D). Equal arguments give equal scores on one kind of processor.
    """
    label_N = np.array([sample.label for sample in samples])
    group_N = [sample.group for sample in samples]
    mean_ND = np.stack([bag_TD.mean(axis=0, dtype=np.float64) for bag_TD in bags]).astype(np.float32)
    mean_NC = np.zeros((len(bags), classes), np.float32)
    attention_NC = np.zeros((len(bags), classes), np.float32)
    weights: dict[int, Array] = {}
    for number, fold in enumerate(folds):
        rng = generator(seed, Purpose.SLIDE_PROBE, number)
        # logistic regression on mean features needs no val part, so that trains it too
        rows = fold.train if fold.val is None else np.concatenate([fold.train, fold.val])
        train = mean_ND[rows], label_N[rows], [group_N[row] for row in rows]
        model = choose_and_fit(*train, settings.penalties, settings.inner_folds, rng, classes=classes)
        mean_NC[fold.test] = np.exp(model.scores(mean_ND[fold.test]))
        torch_rng = torch_generator(seed, Purpose.SLIDE_ATTENTION, number)
        attention_NC[fold.test], weight_M = _attended(bags, label_N, classes, fold, settings, torch_rng)
        weights |= dict(zip(fold.test.tolist(), weight_M, strict=True))
    tested_N = np.array(sorted(weights))
    return SlideScores(tested_N, mean_NC[tested_N], attention_NC[tested_N], [weights[n] for n in tested_N.tolist()])


def checked_bags(bags: Sequence[Array], samples: Sequence[Sample]) -> Sequence[Array]:
    """The bags. Raises DataError for a slide without tiles, or with features of another size than the first one's."""
    for bag_TD, sample in zip(bags, samples, strict=True):
        if not len(bag_TD):
            raise DataError(f"slide {sample.id!r} has no tiles; take it out of the table, or give it some")
        if bag_TD.shape[1] != bags[0].shape[1]:
            raise DataError(
                f"slide {sample.id!r} has {bag_TD.shape[1]} features a tile, {samples[0].id!r} has {bags[0].shape[1]}; "
                "they come from different encoders"
            )
    return bags


def _attended(
    bags: Sequence[Array], label_N: Array, classes: int, fold: Fold, settings: SlideSettings, torch_rng: torch.Generator
) -> tuple[Array, list[Array]]:
    training = Training(settings.epochs, settings.lr, settings.weight_decay, settings.hidden)
    train_N, train_bags = label_N[fold.train], [bags[n] for n in fold.train]
    val = None if fold.val is None else ([bags[n] for n in fold.val], label_N[fold.val])
    loss = balanced_cross_entropy(train_N, classes)
    network = fit_attention(train_bags, train_N, loss, classes, training, torch_rng, val)
    output_NC, weights = attend(network, [bags[n] for n in fold.test])
    output_NC = output_NC.astype(np.float64)
    output_NC[:, ~np.isin(np.arange(classes), train_N)] = -np.inf  # a class without training slides is never meant
    shifted_NC = np.exp(output_NC - output_NC.max(axis=1, keepdims=True))
    return (shifted_NC / shifted_NC.sum(axis=1, keepdims=True)).astype(np.float32), weights
