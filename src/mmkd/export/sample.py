"""The pictures and texts on which formats are compared."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mmkd.corpus.schema import Corpus
from mmkd.images.decode import decode
from mmkd.randomness import Purpose, generator

TEXTS = 32
WORDS = ("a chest x-ray", "no finding", "histopathology of a tumour", "a fundus photograph with drusen")
SIZES = ((64, 64), (96, 64), (65, 97), (224, 224), (300, 231), (17, 40), (512, 512), (40, 333))


@dataclass(frozen=True)
class Sample:
    """images: one at a time, as often as they are asked for. count: of them. origin: in words, for the model card."""

    images: Iterable[Image.Image]
    count: int
    texts: list[str]
    origin: str


class _Stored:
    """Decoded one at a time: a thousand whole pictures do not fit into memory."""

    def __init__(self, corpus: Corpus, rows: np.ndarray) -> None:
        self._corpus, self._rows = corpus, rows

    def __iter__(self) -> Iterator[Image.Image]:
        for row in self._rows:
            yield decode(self._corpus.images([row])[0])


def of_corpus(corpus: Corpus, limit: int) -> Sample:
    """Held-out pictures first, in the order of the corpus, and captions of theirs that differ in more than case."""
    held_out = np.array(corpus.column("split")) == "val"
    row_N = np.concatenate([np.flatnonzero(held_out), np.flatnonzero(~held_out)])[:limit]
    captions = _captions(corpus, row_N)
    texts = list({" ".join(text.lower().split()): text for text in captions}.values())[:TEXTS]
    held = int(held_out[row_N].sum())
    return Sample(
        _Stored(corpus, row_N), len(row_N), texts or list(WORDS), f"pictures of the corpus, {held:,} of them held out"
    )


def _captions(corpus: Corpus, row_N: np.ndarray) -> list[str]:
    found: list[str] = corpus.take(row_N).column("caption").to_pylist()
    return [caption for caption in found if caption]


def random_pictures() -> Sample:
    """Noise of several sizes, for a model without a corpus."""
    rng = generator(0, Purpose.EXPORT_CHECK)
    coarse = [rng.integers(0, 256, (-(-h // 8), -(-w // 8), 3), np.uint8) for h, w in SIZES]
    images = [Image.fromarray(a).resize((w, h)) for a, (h, w) in zip(coarse, SIZES, strict=True)]
    return Sample(images, len(images), list(WORDS), "random pictures (no corpus was given)")
