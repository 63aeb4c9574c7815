"""The recipe section `[phantom]`: the embedded synthetic world that a run writes before it starts."""

from pydantic import Field, PositiveInt

from mmkd.settings import Settings


class PhantomPairs(Settings):
    """One folder of pairs. wrong_captions: share whose caption names a random finding of the same modality."""

    modalities: list[str] = Field(min_length=1)
    count: PositiveInt
    wrong_captions: float = Field(default=0.0, ge=0.0, le=1.0)


class PhantomTokenizer(Settings):
    """A WordPiece tokenizer trained on the world's captions."""

    vocab_size: PositiveInt = 400
    lowercase: bool = True


class PhantomSettings(Settings):
    """What the world holds: named folders of pairs, tokenizers, and held-out test sets for all modalities.

    size: pixels a side. per_class: test images a finding. retrieval: held-out pairs with right captions.
    """

    size: PositiveInt = 32
    pairs: dict[str, PhantomPairs]
    tokenizers: dict[str, PhantomTokenizer] = {}
    per_class: PositiveInt = 50
    retrieval: PositiveInt = 500
