"""The recipe section `[phantom]`: the embedded synthetic world that a run writes before it starts."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mmkd.settings import Name, Settings


class PhantomPairs(Settings):
    """One folder of pairs. wrong_captions: share whose caption names a random finding of the same modality.

    swapped: modalities whose captions name another finding than they should, always the same one for each: a teacher
    that is trained on them is confidently wrong there.

    modalities: of the images. count: pairs.
    """

    modalities: list[str] = Field(min_length=1)
    count: PositiveInt
    wrong_captions: float = Field(default=0.0, ge=0.0, le=1.0)
    swapped: list[str] = []


class PhantomTokenizer(Settings):
    """A WordPiece tokenizer of the world's captions. pairs: the folders whose captions it is made from (all).

    vocab_size: of the WordPiece vocabulary. lowercase: captions are lowercased first.
    """

    vocab_size: PositiveInt = 400
    lowercase: bool = True
    pairs: list[str] = []


class PhantomSettings(Settings):
    """What the world holds: named folders of pairs, tokenizers, and held-out test sets for all modalities.

    size: pixels a side. per_class: test images a finding. retrieval: held-out pairs with right captions.
    Difficulty: findings: `four` of each modality, or eight, `graded` by severity and with two at once. contrast:
    of the findings, 1 as drawn. noise: factor of the acquisition noise.
    """

    size: PositiveInt = 32
    findings: Literal["four", "graded"] = "four"
    contrast: PositiveFloat = 1.0
    noise: NonNegativeFloat = 1.0
    pairs: dict[Name, PhantomPairs]
    tokenizers: dict[Name, PhantomTokenizer] = {}
    per_class: PositiveInt = 50
    retrieval: PositiveInt = 500
