"""Settings of heads that several tasks fit."""

from pydantic import Field, PositiveInt

from mmkd.settings import Settings


class AttentionSettings(Settings):
    """epochs, lr, weight_decay, hidden: of the gated attention network."""

    epochs: PositiveInt = 40
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    hidden: PositiveInt = 64
