"""The recipe section `[calibrate]`."""

from pydantic import Field, PositiveFloat, PositiveInt

from mmkd.settings import Settings


class CalibrateSettings(Settings):
    """The recipe section `[calibrate]`.

    rows: at most so many rows of a modality are tested. rivals: captions that each row's own caption must beat.
    power: weights grow with this power of the advantage over chance. z_min: an advantage of fewer standard errors
    counts as none. spread: standard deviation of every teacher's logits along a row, from which its scale follows
    (measured on `batch` pairs); scale: use this one for every teacher instead.
    """

    rows: PositiveInt = 20_000
    rivals: PositiveInt = 128
    power: PositiveFloat = 4.0
    z_min: float = Field(2.0, ge=0.0)
    spread: PositiveFloat = 7.5
    scale: float | None = Field(None, gt=0.0)
    batch: PositiveInt = 256
