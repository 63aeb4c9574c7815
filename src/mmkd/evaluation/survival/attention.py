"""Log hazards by gated attention over all images of a patient; M training patients, H others, D features."""

from collections.abc import Sequence

import numpy as np
import torch

from mmkd.evaluation.heads.attention import Training, attend, cox, fit_attention
from mmkd.evaluation.heads.settings import AttentionSettings
from mmkd.statistics.metrics import Array
from mmkd.statistics.survival.outcomes import Outcomes
from mmkd.statistics.survival.patients import patient_folds

BATCH = 64  # patients of a step: enough for risk sets, few enough for memory
HELD = 5  # one of so many training patients decides when to stop


def attention_risks(
    train: Sequence[Array],
    outcomes: Outcomes,
    patients: Sequence[str],
    others: Sequence[Array],
    settings: AttentionSettings,
    rng: np.random.Generator,
) -> Array:
    """Fit on the training patients' bags (T, D), predict the others; higher = earlier event, float64 (H,).

    A fifth of the training patients, events spread evenly, decides when to stop; with fewer than ten events everybody
    trains and all epochs are run.
    """
    training = Training(settings.epochs, settings.lr, settings.weight_decay, settings.hidden, batch_bags=BATCH)
    target_M2 = np.stack([outcomes.event_N, outcomes.time_N], axis=1).astype(np.float32)
    held_M = np.zeros(len(train), np.bool_)
    if np.count_nonzero(outcomes.event_N) >= 2 * HELD:
        held_M = patient_folds(outcomes, patients, HELD, rng) == 0
    kept = [bag for bag, held in zip(train, held_M, strict=True) if not held]
    val = [bag for bag, held in zip(train, held_M, strict=True) if held]
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    network = fit_attention(
        kept, target_M2[~held_M], cox, 1, training, generator, (val, target_M2[held_M]) if val else None
    )
    risk_H: Array = attend(network, others)[0][:, 0].astype(np.float64)
    return risk_H
