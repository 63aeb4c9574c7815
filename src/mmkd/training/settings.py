"""The recipe sections of both training stages."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mmkd.settings import Settings


class AugmentSettings(Settings):
    """Augmentation of the student's view; the teachers' cached features are of the plain image.

    shift: largest translation as a share of the side. gain: brightness factor within 1 +- gain. noise: standard
    deviation of pixel noise, of the range 0..1. flip: mirror half of the images (off: left and right carry meaning).
    """

    shift: float = Field(0.0, ge=0.0, lt=1.0)
    gain: float = Field(0.0, ge=0.0, lt=1.0)
    noise: NonNegativeFloat = 0.0
    flip: bool = False


class TrainSettings(Settings):
    """What both stages share. Steps: epochs x floor(pairs / batch_size). betas, eps: of AdamW.

    precision: `bf16` runs the student under autocast. joint_positives: pairs with equal captions are positives of one
    another in the contrastive loss instead of negatives. checkpoint_every, log_every: steps.
    """

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 128
    lr: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    eps: PositiveFloat = 1e-6
    warmup_steps: NonNegativeInt = 100
    grad_clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    joint_positives: bool = True
    augment: AugmentSettings = AugmentSettings()
    checkpoint_every: PositiveInt = 500
    log_every: PositiveInt = 20


class PretrainSettings(TrainSettings):
    """The recipe section `[pretrain]`: stage 1, contrastive."""


class MmkdSettings(Settings):
    """The reference recipe as its public code has it; see `mmkd.training.objectives.Mmkd`.

    projection: how a teacher's features reach the student's dimension. fd: weight of the two MSE terms. scale: of the
    interactive term; the public code passes log(1 / .07) where exp of it was meant, and never trains it.
    gate_rivals, gate_top: which teachers a sample has (`rank_gate`); top 1 admits every teacher.
    """

    projection: Literal["autoencoder", "linear"] = "autoencoder"
    autoencoder_epochs: PositiveInt = 5
    fd: NonNegativeFloat = 50.0
    icl: NonNegativeFloat = 1.0
    scale: PositiveFloat = 2.6593
    gate_rivals: PositiveInt = 64
    gate_top: float = Field(0.25, gt=0.0, le=1.0)


class DistillSettings(TrainSettings):
    """The recipe section `[distill]`: stage 2.

    objective: `affinity` (ours), `contrastive` (stage 1 continued) or `mmkd` (the reference recipe). contrastive: share
    of the contrastive term, the affinity has the rest. heads: weight of the per-teacher heads, 0 for none. min_weight:
    teachers with less weight on a pair leave it alone. weighting: `soft` as calibrated, `best` only the best teacher of
    each modality, `everyone` the same weight for all.
    """

    objective: Literal["affinity", "contrastive", "mmkd"] = "affinity"
    contrastive: float = Field(0.0, ge=0.0, le=1.0)
    heads: NonNegativeFloat = 0.0
    min_weight: float = Field(0.05, ge=0.0, lt=1.0)
    weighting: Literal["soft", "best", "everyone"] = "soft"
    mmkd: MmkdSettings = MmkdSettings()
