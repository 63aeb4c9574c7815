"""Settings of the heads that tasks fit: the recipe sections `[evaluate.slides]` and `[evaluate.survival]`."""

from pydantic import Field, PositiveFloat, PositiveInt

from mmkd.settings import Settings


class AttentionSettings(Settings):
    """epochs, lr, weight_decay, hidden: of the gated attention network."""

    epochs: PositiveInt = 40
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    hidden: PositiveInt = 64


class SlideSettings(AttentionSettings):
    """Classifiers of whole slides on frozen tile features, by patient-level folds.

    folds: of the cross-validation where the card has no train and test split. penalties: inverse strengths of the
    logistic regression on mean features, chosen by `inner_folds` of the training patients.
    inner_folds: of the cross-validation that chooses the penalty. epochs, lr, weight_decay,
    hidden: of the gated attention network.
    """

    folds: int = Field(5, ge=2)
    penalties: list[PositiveFloat] = Field([0.01, 0.1, 1.0, 10.0, 100.0], min_length=1)
    inner_folds: int = Field(3, ge=2)


class SurvivalSettings(AttentionSettings):
    """Cox models by patient-level folds. folds: where the card has no train and test split. penalties: to choose from
    by inner folds. times: at how many times curves over time are evaluated. epochs, lr, weight_decay, hidden: of the
    gated attention network over the images of a patient."""

    folds: int = Field(5, ge=2)
    penalties: list[float] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)
    times: PositiveInt = 10
