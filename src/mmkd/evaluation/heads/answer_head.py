"""A classifier of answers on blocks of frozen features; N samples, F features, K components, V answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from mmkd.evaluation.heads.components import Components, principal_components
from mmkd.evaluation.heads.folds import group_numbers, stratified_group_folds
from mmkd.evaluation.heads.logistic import Logistic, choose_and_fit, fit
from mmkd.settings import Settings
from mmkd.statistics.metrics import Array, one_vs_rest

TOLERANCE = 1e-3  # of the solver: 3e-4 takes twice as long and changed the accuracy on VQA-RAD by 0.2 points at most


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
        place_N: Array = self.model.scores(self.components.of(blocks)).argmax(axis=1)
        return place_N


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
    if val is not None:
        on_val = (components.of(val[0]), val[1])
        model = choose_and_fit(
            value_NK, answer_N, group_N, settings.penalties, 2, rng, classes=answers, val=on_val, tolerance=TOLERANCE
        )
        return AnswerHead(components, model)
    held_N = _held_out(answer_N, group_N, answers, settings.held_out, rng)
    chosen = choose_and_fit(
        value_NK[~held_N],
        answer_N[~held_N],
        [group for group, held in zip(group_N, held_N, strict=True) if not held],
        settings.penalties,
        2,
        rng,
        classes=answers,
        val=(value_NK[held_N], answer_N[held_N]),
        tolerance=TOLERANCE,
    )
    model = fit(value_NK, answer_N, chosen.penalty, answers, TOLERANCE)
    counted = replace(model, fits=chosen.fits + 1, unconverged=chosen.unconverged + model.unconverged)
    return AnswerHead(components, replace(counted, chosen_by=f"{settings.held_out:.0%} of the training groups"))


def _held_out(answer_N: Array, group_N: Sequence[str], answers: int, share: float, rng: np.random.Generator) -> Array:
    """About this share of the samples, answers in equal shares; none where all are of one group. Booleans (N,)."""
    number_N = group_numbers(group_N)
    fold_N = stratified_group_folds(one_vs_rest(answer_N, answers), number_N, round(1 / share), rng)
    held_N: Array = fold_N == fold_N.max(initial=0)
    return held_N if not held_N.all() else np.zeros_like(held_N)
