"""The recipe section `[distill]`, which the rivals share."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from mmkd.settings import Settings
from mmkd.training.settings.train import TrainSettings

Targets = Literal["none", "centre", "standardise", "phi-s", "autoencoder"]
Weighting = Literal["soft", "best", "trusted", "everyone", "per_sample", "confidence", "dropping", "uncertainty"]


class MmkdSettings(Settings):
    """The reference recipe; the defaults are what its public code does, each defect a switch.

    exp_scale: the interactive term's scale is exp(log 1/.07) = 14.3, not the logarithm itself, 2.66. train_scale: it is
    trained. normalise: projected targets are unit vectors. one_space: a pair's negatives come from the teacher that was
    drawn for the pair, not from whatever teacher each negative drew. shuffle: the order of the pairs changes with the
    epoch (the public stage 2 reads them in file order). gather_gradient: with several processes the other processes'
    embeddings carry gradients. fd, icl: weights of the feature distance (two MSE terms) and of the interactive term.
    projection: how a teacher's features reach the student's dimension. gate_rivals, gate_top: which teachers a sample
    has (`rank_gate`); top 1 admits every teacher.

    autoencoder_epochs: epochs in which a teacher's auto-encoder is fitted.
    """

    exp_scale: bool = False
    train_scale: bool = False
    normalise: bool = False
    one_space: bool = False
    shuffle: bool = False
    gather_gradient: bool = False
    projection: Literal["autoencoder", "linear"] = "autoencoder"
    autoencoder_epochs: PositiveInt = 5
    fd: NonNegativeFloat = 50.0
    icl: NonNegativeFloat = 1.0
    gate_rivals: PositiveInt = 64
    gate_top: float = Field(0.25, gt=0.0, le=1.0)

    def mended(self) -> "MmkdSettings":
        """The same recipe without its defects."""
        return self.model_copy(update=dict.fromkeys(DEFECTS, True))


DEFECTS = ("exp_scale", "train_scale", "normalise", "one_space", "shuffle", "gather_gradient")  # False is the defect


class DistillSettings(TrainSettings):
    """The recipe section `[distill]`: stage 2.

    objective: the main term. `affinity` (the teachers' image-text softmax, both ways), `heads` (a light head per
    teacher and side towards its vectors), `interactive` (student against teacher captions and images, through those
    heads), `relational` (student's image-image and text-text structure), `contrastive` (stage 1 continued), `mmkd` (the
    reference recipe) and `mmkd-fixed` (the same with every defect of it mended). contrastive: share of the contrastive
    term, the main term has the rest. heads, interactive, relational: weights of these terms beside another main term.
    `contrastive`, `mmkd` and `mmkd-fixed` have none of these terms beside them, and shares of their own.
    joint_positives is false under `mmkd` unless it is given: the public code takes a caption's repeats for negatives.

    head_loss: of the heads. targets: what is done to a teacher's vectors before heads see them
    (`mmkd.reliability.targets`). min_weight: teachers with less weight on a pair leave it alone.
    weighting: `soft` as calibrated; `best` only the best teacher of each modality or cluster; `trusted` equal weights
    for all that calibration trusts; `everyone` equal weights for all; `per_sample` all that rank this pair's caption
    high; `confidence` soft, times the teacher's probability of the pair to the power `confidence`; `dropping` at each
    step the teacher with the largest loss and each other one with probability `keep` (UNIC); `uncertainty` a trained
    variance per teacher (arXiv 1705.07115).
    caption_trust: 0 believes every caption alike; above, the contrastive weight of a pair is the believed share to this
    power: how well the trusted teachers rank its caption.

    confidence: exponent of the weighting of that name. keep: probability of the weighting `dropping`.
    """

    objective: Literal["affinity", "heads", "interactive", "relational", "contrastive", "mmkd", "mmkd-fixed"] = (
        "affinity"
    )
    contrastive: float = Field(0.0, ge=0.0, le=1.0)
    heads: NonNegativeFloat = 0.0
    interactive: NonNegativeFloat = 0.0
    relational: NonNegativeFloat = 0.0
    head_loss: Literal["cosine", "smooth_l1", "angle"] = "angle"
    targets: Targets = "centre"
    min_weight: float = Field(0.05, ge=0.0, lt=1.0)
    weighting: Weighting = "soft"
    confidence: PositiveFloat = 1.0
    keep: float = Field(0.5, ge=0.0, le=1.0)
    caption_trust: NonNegativeFloat = 0.0
    mmkd: MmkdSettings = MmkdSettings()

    @model_validator(mode="before")
    @classmethod
    def _repeats_of_the_reference(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("objective") == "mmkd":
            return {"joint_positives": False, **data}
        return data

    @property
    def is_reference(self) -> bool:
        """Whether this is the reference recipe, as it is or mended: one drawn teacher a pair, behind a gate."""
        return self.objective in ("mmkd", "mmkd-fixed")

    @property
    def reference(self) -> MmkdSettings:
        """The reference recipe as this objective means it: mended under `mmkd-fixed`."""
        return self.mmkd.mended() if self.objective == "mmkd-fixed" else self.mmkd
