"""The teachers' side of every training pair: features, trust, availability, and how far the caption is believed.

Letters: N training pairs, T teachers, B pairs of a batch, D a teacher's dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures
from mmkd.reliability.belief import believed_by_groups, null_ranks
from mmkd.reliability.calibration import Calibration
from mmkd.reliability.reliability import rank_gate
from mmkd.training.data.view import TeacherBatch
from mmkd.training.settings.distill import DistillSettings

GATE, BELIEF = 3, 7  # purposes of random numbers
RIVALS = 128  # of a caption that may be believed


@dataclass(frozen=True)
class TeacherTargets:
    """Features of T teachers with each training pair's trust (N, T), availability (N, T) and believed share (N,).

    believed_N: float32 0..1, how far the pair's caption is believed; all 1 without caption_trust.
    """

    features: list[TeacherFeatures]
    weight_NT: np.ndarray
    available_NT: np.ndarray
    believed_N: np.ndarray

    def at(self, position_B: np.ndarray, row_B: np.ndarray) -> TeacherBatch:
        """The teachers' side of a batch; a teacher that failed on a pair gets weight 0 there."""
        image, text, valid = [], [], []
        for features in self.features:
            image_BD, text_BD, valid_B = features.take(row_B)
            image.append(torch.from_numpy(image_BD.astype(np.float32)))
            text.append(torch.from_numpy(text_BD.astype(np.float32)))
            valid.append(torch.from_numpy(valid_B))
        valid_BT = torch.stack(valid, dim=1)
        weight_BT = torch.from_numpy(self.weight_NT[position_B]) * valid_BT
        return TeacherBatch(image, text, weight_BT, torch.from_numpy(self.available_NT[position_B]))


def teacher_targets(
    settings: DistillSettings,
    corpus: Corpus,
    rows: np.ndarray,
    features: list[TeacherFeatures],
    calibration: Calibration,
    seed: int,
) -> TeacherTargets:
    """What the recipe asks of each teacher on each of the corpus rows (N,).

    Raises DataError when the reference recipe meets a pair that has features of no teacher.
    """
    group_N = calibration.groups(corpus)[rows]
    soft_NT = calibration.weights(group_N)
    available_NT = np.stack([teacher.valid()[rows] for teacher in features], axis=1)
    if settings.is_reference or settings.weighting == "per_sample":
        available_NT = _gated(settings, rows, features, available_NT, seed)
    if settings.is_reference and not available_NT.any(axis=1).all():
        raise DataError(
            f"{np.count_nonzero(~available_NT.any(axis=1))} of {len(rows)} pairs have features of no teacher; "
            f"extract them again before objective {settings.objective!r}"
        )
    believed_N = np.ones(len(rows), dtype=np.float32)
    if settings.caption_trust:
        strong_NT = np.where(soft_NT < settings.min_weight, 0.0, soft_NT)
        believed_N = believed_captions(strong_NT, group_N, rows, features, seed) ** np.float32(settings.caption_trust)
    return TeacherTargets(features, weighted(soft_NT, available_NT, settings.weighting), available_NT, believed_N)


def weighted(soft_NT: np.ndarray, available_NT: np.ndarray, weighting: str) -> np.ndarray:
    """The weights that a recipe asks for, float32 (N, T), from the calibrated ones and who is available.

    `confidence` and `dropping` start from soft ones, `uncertainty` from everyone; the rest happens at each step.
    """
    if weighting in ("everyone", "uncertainty"):
        return np.ones_like(soft_NT)
    if weighting == "per_sample":
        return available_NT.astype(np.float32)
    if weighting == "trusted":
        return (soft_NT > 0).astype(np.float32)
    if weighting == "best":
        best_N1 = soft_NT.max(axis=1, keepdims=True)
        return np.asarray((soft_NT == best_N1) & (best_N1 > 0), dtype=np.float32)
    return soft_NT


def _gated(
    settings: DistillSettings, rows: np.ndarray, features: Sequence[TeacherFeatures], valid_NT: np.ndarray, seed: int
) -> np.ndarray:
    """Which teachers rank a pair's own caption high; a pair that no teacher passes has all with features for it."""
    generator = np.random.default_rng([seed, GATE])
    gate = settings.mmkd
    passed = []
    for teacher in features:
        image_ND, text_ND, _ = teacher.take(rows)
        passed.append(rank_gate(image_ND, text_ND, gate.gate_rivals, gate.gate_top, generator))
    passed_NT = np.stack(passed, axis=1) & valid_NT
    return np.asarray(np.where(passed_NT.any(axis=1, keepdims=True), passed_NT, valid_NT))


def believed_captions(
    weight_NT: np.ndarray, group_N: np.ndarray, rows: np.ndarray, features: Sequence[TeacherFeatures], seed: int
) -> np.ndarray:
    """How far each pair's caption is believed (N,) float32: the weighted mean of what each trusted teacher says.

    weight_NT: the same for all pairs of a group. Pairs that no teacher of weight > 0 has features for are believed.
    """
    generator = np.random.default_rng([seed, BELIEF])
    total_N, weight_N = np.zeros(len(rows)), np.zeros(len(rows))
    for t, teacher in enumerate(features):
        seen_N = (weight_NT[:, t] > 0) & teacher.valid()[rows]
        places = [np.flatnonzero(seen_N & (group_N == name)) for name in np.unique(group_N[seen_N])]
        ranks = [null_ranks(*teacher.take(rows[place])[:2], RIVALS, generator) for place in places]
        for place, believed_G in zip(places, believed_by_groups(ranks), strict=True):
            total_N[place] += weight_NT[place, t] * believed_G
            weight_N[place] += weight_NT[place, t]
    known_N = weight_N > 0
    return np.divide(total_N, weight_N, out=np.ones(len(rows)), where=known_N).astype(np.float32)
