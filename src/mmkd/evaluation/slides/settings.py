"""The recipe section `[evaluate.slides]`."""

from pydantic import Field, PositiveFloat

from mmkd.evaluation.heads.settings import AttentionSettings


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
