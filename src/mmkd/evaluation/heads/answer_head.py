"""A classifier of answers on components of frozen features; N samples, F features, K components, V answers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.evaluation.heads.logistic import Logistic, choose_and_fit, fit
from mmkd.settings import Settings
from mmkd.statistics.bootstrap import group_numbers
from mmkd.statistics.metrics import Array, one_vs_rest

TOLERANCE = 1e-3  # of the solver: 3e-4 takes twice as long and changed the accuracy on VQA-RAD by 0.2 points at most


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of blocks of equal weight. scale_F: of the block that a feature belongs to."""

    mean_F: Array
    scale_F: Array
    axis_FK: Array

    def of(self, blocks: Sequence[Array]) -> Array:
        """The same blocks of other samples, projected; (N, K)."""
        return np.asarray(((np.hstack(blocks) - self.mean_F) / self.scale_F) @ self.axis_FK)


def principal_components(blocks: Sequence[Array], most: int, rng: np.random.Generator) -> Components:
    """The `most` directions of largest variance at most, each block scaled to a total variance of one before.

    Products of unit vectors are smaller than the vectors by the root of their length: unscaled they would be lost. By
    randomised subspace iteration (Halko, Martinsson, Tropp 2011), so wide ensembles take seconds. A block that does not
    vary stays zero.
    """
    from sklearn.utils.extmath import randomized_svd

    value_NF = np.hstack(blocks)
    mean_F = value_NF.mean(axis=0)
    spreads = [np.sqrt(block.var(axis=0, dtype=np.float64).sum()) for block in blocks]
    scale_F = np.concatenate(
        [np.full(block.shape[1], spread or 1.0) for block, spread in zip(blocks, spreads, strict=True)]
    ).astype(value_NF.dtype)
    scaled_NF = (value_NF - mean_F) / scale_F
    _, _, axis_KF = randomized_svd(
        scaled_NF, min(most, *scaled_NF.shape), n_iter=3, random_state=int(rng.integers(2**31))
    )
    return Components(mean_F, scale_F, axis_KF.T)


class VqaSettings(Settings):
    """Answer heads on frozen features of image and question.

    vocabulary: most frequent training answers that a head can give. components: principal ones of its
    features. penalties: inverse strengths to choose from, on the val split or on `held_out` of the training groups.
    held_out: share of the training groups that chooses the penalty where there is no val split.
    """

    vocabulary: int = Field(500, ge=2)
    components: PositiveInt = 256
    penalties: list[PositiveFloat] = Field([0.01, 0.1, 1.0], min_length=1)
    held_out: float = Field(0.25, gt=0.0, le=0.5)


@dataclass(frozen=True, eq=False)
class AnswerHead:
    components: Components
    model: Logistic

    def answers(self, blocks: Sequence[Array]) -> Array:
        """The place in the vocabulary of each sample's most probable answer; (N,)."""
        return np.asarray(self.model.scores(self.components.of(blocks)).argmax(axis=1))


def train_head(
    blocks: Sequence[Array],
    answer_N: Array,
    group_N: Sequence[str],
    answers: int,
    settings: VqaSettings,
    rng: np.random.Generator,
    val: tuple[Sequence[Array], Array] | None = None,
) -> AnswerHead:
    """Multinomial logistic regression on the standardised principal components of the blocks.

    Few uncorrelated columns, because a regression of hundreds of answers on thousands of correlated ones takes minutes.
    The penalty is chosen on `val` (blocks and answers) or on a part of the training samples that holds whole groups;
    then all training samples are fitted.
    """
    components = principal_components(blocks, settings.components, rng)
    value_NK = components.of(blocks)
    choose = partial(
        choose_and_fit, penalties=settings.penalties, folds=2, rng=rng, classes=answers, tolerance=TOLERANCE
    )
    if val is not None:
        return AnswerHead(components, choose(value_NK, answer_N, group_N, val=(components.of(val[0]), val[1])))
    held_N = _held_out(answer_N, group_N, answers, settings.held_out, rng)
    groups = [group for group, held in zip(group_N, held_N, strict=True) if not held]
    chosen = choose(value_NK[~held_N], answer_N[~held_N], groups, val=(value_NK[held_N], answer_N[held_N]))
    model = fit(value_NK, answer_N, chosen.penalty, answers, TOLERANCE)
    counted = replace(model, fits=chosen.fits + 1, unconverged=chosen.unconverged + model.unconverged)
    return AnswerHead(components, replace(counted, chosen_by=f"{settings.held_out:.0%} of the training groups"))


def _held_out(answer_N: Array, group_N: Sequence[str], answers: int, share: float, rng: np.random.Generator) -> Array:
    """About this share of the samples, answers in equal shares; none where all are of one group. Booleans (N,)."""
    number_N = group_numbers(group_N)
    fold_N = stratified_group_folds(one_vs_rest(answer_N, answers), number_N, round(1 / share), rng)
    held_N: Array = fold_N == fold_N.max(initial=0)
    return held_N if not held_N.all() else np.zeros_like(held_N)


def vocabulary_of(answers: Iterable[str], most: int) -> list[str]:
    """The most frequent normal answers, `most` at most; equally frequent ones in alphabetical order."""
    counts = Counter(answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))[:most]


def places_of(answers: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The place of every answer in the vocabulary, -1 for those outside."""
    place = {answer: number for number, answer in enumerate(vocabulary)}
    return [place.get(answer, -1) for answer in answers]
