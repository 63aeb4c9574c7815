"""The teachers' side of every training pair: features, weights, availability, and the weight of its caption.

Letters: N training pairs, T teachers, B pairs of a batch, D a teacher's dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkd.corpus.schema import Corpus
from mmkd.distributed import ALONE, World
from mmkd.errors import ConfigError, DataError
from mmkd.features.store import TeacherFeatures
from mmkd.folders.digests import bytes_digest
from mmkd.progress import say
from mmkd.randomness import Purpose, generator
from mmkd.reliability.posterior import posteriors_by_group
from mmkd.reliability.streamed_ranks import Take, gate_of, null_ranks_of
from mmkd.reliability.table import ReliabilityTable, counted
from mmkd.training.data.view import TeacherBatch
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import WEIGHTINGS
from mmkd.training.targets.given_captions import given_captions
from mmkd.training.targets.patch_relations import common_grid, relations
from mmkd.training.targets.stored import stored

RIVALS = 128  # captions that each pair's own is ranked among, up to `MANY` pairs


@dataclass(frozen=True)
class TeacherTargets:
    """Features of T teachers, and for each training pair the teachers' weights (N, T) and availability (N, T).

    caption_weight_N: float32 0..1, multiplies the pair's contrastive term; 1 without caption_posterior, and 0 without a
    caption.
    captions_alone: no pair but those without a teacher has a weight of its caption, and there are such pairs.
    slope_NT: float32, of each teacher in the stack's logits; group_N: int64, equal numbers are equal groups of the
    fit; given_N2: float32, what each caption is worth as evidence, see `given_captions`. None where no term asks.
    grid: side of the grid of the patches that a term follows, 0 where none asks; patch_places: of the teachers whose
    patches it follows.
    """

    features: list[TeacherFeatures]
    weight_NT: np.ndarray
    available_NT: np.ndarray
    caption_weight_N: np.ndarray
    captions_alone: bool = False
    slope_NT: np.ndarray | None = None
    group_N: np.ndarray | None = None
    given_N2: np.ndarray | None = None
    grid: int = 0
    patch_places: tuple[int, ...] = ()

    def at(self, position_B: np.ndarray, row_B: np.ndarray, text_row_B: np.ndarray | None = None) -> TeacherBatch:
        """The teachers' side of a batch; a teacher that failed on a pair gets weight and slope 0 there.

        text_row_B: corpus rows of the captions, where some are of other pairs.
        """
        image, text, valid = [], [], []
        asked = (row_B,) if text_row_B is None else (row_B, text_row_B)
        for features in self.features:
            image_BD, text_BD, valid_B = features.take(*asked)
            image.append(torch.from_numpy(image_BD.astype(np.float32)))
            text.append(torch.from_numpy(text_BD.astype(np.float32)))
            valid.append(torch.from_numpy(valid_B))
        valid_BT = torch.stack(valid, dim=1)
        weight_BT = torch.from_numpy(self.weight_NT[position_B]) * valid_BT
        available_BT = torch.from_numpy(self.available_NT[position_B])
        relation_BTPP = relations(self.features, self.patch_places, row_B, self.grid) if self.grid else None
        if self.slope_NT is None or self.group_N is None:
            return TeacherBatch(image, text, weight_BT, available_BT, relation_BTPP=relation_BTPP)
        slope_BT = torch.from_numpy(self.slope_NT[position_B]) * valid_BT
        group_B = torch.from_numpy(self.group_N[position_B])
        given_B2 = None if self.given_N2 is None else torch.from_numpy(np.asarray(self.given_N2[position_B]))
        return TeacherBatch(image, text, weight_BT, available_BT, slope_BT, group_B, given_B2, relation_BTPP)


def teacher_targets(
    settings: DistillSettings,
    corpus: Corpus,
    rows: np.ndarray,
    features: list[TeacherFeatures],
    reliability: ReliabilityTable,
    seed: int,
    folder: Path | None = None,
    world: World = ALONE,
) -> TeacherTargets:
    """What the recipe asks of each teacher on each of the corpus rows (N,), some of which may lack a caption.

    folder: where the first process leaves what all pairs are ranked for, see `stored`; without one it is worked out
    here.
    Raises DataError when the reference recipe meets a pair that has features of no teacher, and ConfigError when a term
    asks for slopes that the reliability does not have.
    """
    group_N, captioned_N = reliability.groups(corpus)[rows], corpus.captioned[rows]
    soft_NT, weighting = reliability.weights(group_N), WEIGHTINGS[settings.weighting]
    valid_NT = np.stack([np.where(captioned_N, one.valid()[rows], one.has("image")[rows]) for one in features], axis=1)
    available_NT = valid_NT

    def keep(name: str, asked: dict[str, Any], make: Callable[[], np.ndarray]) -> np.ndarray:
        if folder is None:
            return make()
        digests = {"corpus": corpus.digest, "features": [teacher.digest for teacher in features]}
        rows_digest = bytes_digest(np.ascontiguousarray(rows, dtype=np.int64).tobytes())
        return stored(folder, name, {**digests, "rows": rows_digest, "seed": seed, **asked}, make, world)

    if settings.is_reference or weighting.gated:
        rule: dict[str, Any] = {"rivals": settings.mmkd.gate_rivals, "top": settings.mmkd.gate_top}
        available_NT = keep("gate", rule, lambda: gated(settings, rows, features, valid_NT, seed))
    if settings.is_reference and not available_NT.any(axis=1).all():
        raise DataError(
            f"{np.count_nonzero(~available_NT.any(axis=1))} of {len(rows)} pairs have features of no teacher; "
            f"extract them again before objective {settings.objective!r}"
        )
    caption_weight_N = np.ones(len(rows), dtype=np.float32)
    if settings.caption_posterior:
        strong_NT = np.where(soft_NT < settings.min_weight, 0.0, soft_NT)
        trust: dict[str, Any] = {"reliability": reliability.digest, "least": settings.min_weight}
        posterior_N = keep("posterior", trust, lambda: caption_posteriors(strong_NT, group_N, rows, features, seed))
        caption_weight_N = np.asarray(posterior_N) ** np.float32(settings.caption_posterior)
    caption_weight_N = np.where(captioned_N, caption_weight_N, np.float32(0.0))
    weight_NT = weighting.load()(soft_NT, available_NT)
    slope_NT = _slopes(reliability, group_N) if settings.is_stacked else None
    given_N2 = None
    if slope_NT is not None and settings.caption_evidence:
        wrong_N, used_NT = reliability.wrong_captions(group_N), slope_NT * np.float32(settings.sharpness)
        fitted: dict[str, Any] = {"reliability": reliability.digest, "sharpness": settings.sharpness}
        given_N2 = keep(
            "given", fitted, lambda: given_captions(features, rows, group_N, used_NT, wrong_N, seed, captioned_N)
        )
    without_N = ~(_followed(settings, weight_NT, slope_NT) & valid_NT).any(axis=1) & captioned_N
    alone = bool(without_N.any()) and learns_alone(settings)
    if alone:
        caption_weight_N = np.where(without_N, caption_weight_N, np.float32(0.0))
    _say_without(settings, without_N, group_N)
    group_code_N = None if slope_NT is None else np.unique(group_N, return_inverse=True)[1].astype(np.int64)
    of_stack = (slope_NT, group_code_N, given_N2)
    grid = common_grid(features) if settings.follows_patches else 0
    return TeacherTargets(features, weight_NT, available_NT, caption_weight_N, alone, *of_stack, grid)


def _slopes(reliability: ReliabilityTable, group_N: np.ndarray) -> np.ndarray:
    if not reliability.stacks:
        raise ConfigError(
            'the term "stacked" follows the stack of teachers, and this reliability has none; set [reliability] '
            "method = \"stacking\" and run 'mmkd reliability' again, or choose another objective"
        )
    return reliability.slopes(group_N)


def _followed(settings: DistillSettings, weight_NT: np.ndarray, slope_NT: np.ndarray | None) -> np.ndarray:
    """Which teachers the terms follow on which pairs (N, T)."""
    of_stack_NT = np.zeros(weight_NT.shape, dtype=bool) if slope_NT is None else slope_NT > 0
    return of_stack_NT | (weight_NT > settings.min_weight) if settings.reads_weights else of_stack_NT


def learns_alone(settings: DistillSettings) -> bool:
    """Whether the pairs without a teacher, and only they, learn from their captions."""
    return not settings.is_reference and not settings.contrastive and settings.without_teacher == "captions"


def _say_without(settings: DistillSettings, without_N: np.ndarray, group_N: np.ndarray) -> None:
    if settings.is_reference or not without_N.any():
        return
    name_G, count_G = np.unique(group_N[without_N], return_counts=True)
    pairs = counted(dict(zip(name_G.tolist(), count_G.tolist(), strict=True)))
    became = "learn from their captions alone" if settings.contrastive or learns_alone(settings) else "teach nothing"
    say(
        f"no teacher has a weight on {np.count_nonzero(without_N):,} of {len(without_N):,} pairs, {pairs}: they "
        f"{became}"
    )


def soft(soft_NT: np.ndarray, available_NT: np.ndarray) -> np.ndarray:
    """The default weighting: weights as the reliability table has them."""
    return soft_NT


def gated(
    settings: DistillSettings, rows: np.ndarray, features: Sequence[TeacherFeatures], valid_NT: np.ndarray, seed: int
) -> np.ndarray:
    """Which teachers rank a pair's own caption high; a pair that no teacher passes has all with features for it."""
    rng = generator(seed, Purpose.TEACHER_GATE)
    gate = settings.mmkd
    passed = []
    for teacher in features:
        passed.append(gate_of(_taking(teacher, rows), len(rows), gate.gate_rivals, gate.gate_top, rng))
    passed_NT = np.stack(passed, axis=1) & valid_NT
    return np.asarray(np.where(passed_NT.any(axis=1, keepdims=True), passed_NT, valid_NT))


def caption_posteriors(
    weight_NT: np.ndarray, group_N: np.ndarray, rows: np.ndarray, features: Sequence[TeacherFeatures], seed: int
) -> np.ndarray:
    """The posterior of each pair's caption being right (N,) float32: the weighted mean over the teachers' own.

    weight_NT: the same for all pairs of a group. Pairs for which no teacher of weight > 0 has both features get 1.
    """
    rng = generator(seed, Purpose.CAPTION_POSTERIOR)
    total_N, weight_N = np.zeros(len(rows)), np.zeros(len(rows))
    for t, teacher in enumerate(features):
        judged_N = (weight_NT[:, t] > 0) & teacher.valid()[rows]
        places = [np.flatnonzero(judged_N & (group_N == name)) for name in np.unique(group_N[judged_N])]
        ranks = [null_ranks_of(_taking(teacher, rows[place]), len(place), RIVALS, rng) for place in places]
        for place, posterior_G in zip(places, posteriors_by_group(ranks), strict=True):
            total_N[place] += weight_NT[place, t] * posterior_G
            weight_N[place] += weight_NT[place, t]
    return np.divide(total_N, weight_N, out=np.ones(len(rows)), where=weight_N > 0).astype(np.float32)


def _taking(teacher: TeacherFeatures, rows: np.ndarray) -> Take:
    return lambda place_B: teacher.take(rows[place_B])[:2]
