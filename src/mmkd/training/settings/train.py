"""What both training stages share, and the recipe section of stage 1."""

from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from mmkd.settings import Settings

Decay = Annotated[float, Field(ge=0.0, lt=1.0)]


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

    batch_size: pairs of a step, over all processes. precision: `bf16` runs the student under autocast.
    joint_positives: pairs with equal captions or images are positives of one another in the contrastive loss instead of
    negatives. pairwise: `softmax` is InfoNCE, `sigmoid` SigLIP's loss. balance: 0 draws every pair once an epoch, 1
    makes every cluster (or modality) equally frequent, between them the frequency is its size to the power 1 - balance.
    text_buckets: captions of a batch go through the text tower in so many groups of similar length, each padded to its
    own longest; it changes no batch (0: four where the context has more than 64 tokens, else one, since small towers
    lose more by another group than by padding).

    checkpoint_every, log_every: steps. keep_last: checkpoints kept, beside the best weights where those are published.
    validate_every: steps between validations (0: none), on the split `val`: how high the student ranks a pair's own
    caption among captions of the same modality. select: which weights the stage publishes, the `last` or the `best`
    validated ones. ema: decay of an average of the weights, which is what is validated and published (0: none).
    wise_ft: share of the trained weights in their mean with those the stage began with (1: only the trained ones;
    WiSE-FT, arXiv 2109.01903).
    matryoshka: numbers of dimensions, as [64, 128]: the first ones of a vector are trained to be a vector by
    themselves, for smaller archives (arXiv 2205.13147); losses are the mean over them and the whole. `mmkd export
    --dim` cuts the student.
    on_nonfinite: `stop` at a step whose loss or gradient is not finite, or `skip` it, at most max_skipped times.

    epochs: passes over the split `train`. lr: peak learning rate of AdamW; it rises over the warm-up and falls
    along a cosine. weight_decay: of AdamW. warmup_steps: steps of the warm-up. grad_clip: largest norm of the
    gradient. max_skipped: steps that may be skipped.
    """

    epochs: PositiveInt = 20
    batch_size: PositiveInt = 128
    lr: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 0.2
    betas: tuple[Decay, Decay] = (0.9, 0.98)
    eps: PositiveFloat = 1e-6
    warmup_steps: NonNegativeInt = 100
    grad_clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    joint_positives: bool = True
    pairwise: Literal["softmax", "sigmoid"] = "softmax"
    balance: float = Field(0.0, ge=0.0, le=1.0)
    text_buckets: NonNegativeInt = 0
    augment: AugmentSettings = AugmentSettings()
    checkpoint_every: PositiveInt = 500
    keep_last: PositiveInt = 2
    log_every: PositiveInt = 20
    validate_every: NonNegativeInt = 0
    select: Literal["last", "best"] = "last"
    ema: float = Field(0.0, ge=0.0, lt=1.0)
    wise_ft: float = Field(1.0, gt=0.0, le=1.0)
    matryoshka: tuple[PositiveInt, ...] = ()
    on_nonfinite: Literal["stop", "skip"] = "stop"
    max_skipped: NonNegativeInt = 10

    def groups(self, context: int) -> int:
        """How many groups of captions go through a text tower of a context of so many tokens."""
        return self.text_buckets or (4 if context > 64 else 1)

    @property
    def self_taught(self) -> bool:
        """Whether the average of the weights embeds every batch, as one more teacher."""
        return False

    @field_validator("matryoshka")
    @classmethod
    def _each_once(cls, matryoshka: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(matryoshka)) < len(matryoshka):
            raise ValueError(f"a number stands there twice: {', '.join(map(str, matryoshka))}")
        return matryoshka

    @model_validator(mode="after")
    def _best_of_something(self) -> "TrainSettings":
        if self.select == "best" and not self.validate_every:
            raise ValueError('select = "best" needs validate_every: without a validation there is no best')
        if self.select == "best" and self.wise_ft < 1:
            raise ValueError('select = "best" with wise_ft < 1: the best would be chosen on weights before the mixing')
        return self


class PretrainSettings(TrainSettings):
    """The recipe section `[pretrain]`: stage 1, contrastive."""
