"""The recipe section `[evaluate]`."""

from pydantic import Field, PositiveInt

from mmkd.settings import RecipePath, Settings


class EvaluateSettings(Settings):
    """cards: the data-set cards, TOML files. bootstrap: replicates. confidence: of the intervals.

    batch_size: images or texts a forward pass; it changes speed and memory only. variables: what `${NAME}` means in
    the cards, besides the environment.
    """

    cards: list[RecipePath] = Field(min_length=1)
    variables: dict[str, str] = {}
    bootstrap: PositiveInt = 1000
    batch_size: PositiveInt = 256
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
