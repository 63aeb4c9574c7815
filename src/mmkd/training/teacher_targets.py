"""The teachers' side of every training pair: features, trust, availability, and how far the caption is believed.

Letters: N training pairs, T teachers, B pairs of a batch, D a teacher's dimension.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mmkd.calibrate.calibration import Calibration
from mmkd.calibrate.reliability import rank_gate
from mmkd.corpus.schema import Corpus
from mmkd.errors import DataError
from mmkd.features.store import TeacherFeatures
from mmkd.training.distill_settings import DistillSettings
from mmkd.training.view import TeacherBatch


@dataclass(frozen=True)
class TeacherTargets:
    """Features of T teachers with each training pair's trust (N, T), availability (N, T) and believed share (N,)."""

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
    """What the recipe asks of each teacher on each of the corpus rows (N,)."""
    weight_NT = weighted(calibration.weights(calibration.groups(corpus)[rows]), settings.weighting)
    available_NT = np.stack([teacher.valid()[rows] for teacher in features], axis=1)
    if settings.objective in ("mmkd", "mmkd-fixed"):
        available_NT = gated(settings, rows, features, available_NT, seed)
    return TeacherTargets(features, weight_NT, available_NT, np.ones(len(rows), dtype=np.float32))


def weighted(soft_NT: np.ndarray, weighting: str) -> np.ndarray:
    """The weights a recipe asks for, from the calibrated ones (N, T)."""
    if weighting == "everyone":
        return np.ones_like(soft_NT)
    if weighting == "best":
        best_N1 = soft_NT.max(axis=1, keepdims=True)
        return np.asarray((soft_NT == best_N1) & (best_N1 > 0), dtype=np.float32)
    return np.asarray(soft_NT)


def gated(
    settings: DistillSettings, rows: np.ndarray, features: list[TeacherFeatures], valid_NT: np.ndarray, seed: int
) -> np.ndarray:
    """Which teachers a pair may draw; a pair that no teacher passes may draw any that has features for it."""
    generator = np.random.default_rng([seed, 3])
    gate = settings.mmkd
    passed = []
    for teacher in features:
        image_ND, text_ND, _ = teacher.take(rows)
        passed.append(rank_gate(image_ND, text_ND, gate.gate_rivals, gate.gate_top, generator))
    passed_NT = np.stack(passed, axis=1) & valid_NT
    available_NT = np.where(passed_NT.any(axis=1, keepdims=True), passed_NT, valid_NT)
    if not available_NT.any(axis=1).all():
        raise DataError("some pairs have features of no teacher at all; extract them again before objective 'mmkd'")
    return np.asarray(available_NT)
