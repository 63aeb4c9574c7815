"""The recipe section `[evaluate.survival]`."""

from pydantic import Field, PositiveInt

from mmkd.evaluation.heads.settings import AttentionSettings


class SurvivalSettings(AttentionSettings):
    """Cox models by patient-level folds. folds: where the card has no train and test split. penalties: to choose from
    by inner folds. times: at how many times curves over time are evaluated. epochs, lr, weight_decay, hidden: of the
    gated attention network over the images of a patient."""

    folds: int = Field(5, ge=2)
    penalties: list[float] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)
    times: PositiveInt = 10
