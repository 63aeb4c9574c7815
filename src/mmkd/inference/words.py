"""Captions as token ids without PyTorch: open_clip's cleaning of the text, and the tokenizer of an export.

T texts, L tokens at most (the context length).
"""

import html
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _basic(text: str) -> str:
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


def _spaced(text: str) -> str:
    return " ".join(text.split())


CLEAN: dict[str, Callable[[str], str]] = {
    "whitespace": lambda text: _spaced(_basic(text)),
    "lower": lambda text: _spaced(_basic(text)).lower(),
    "canonicalize": lambda text: _spaced(_basic(text).replace("_", " ").translate(NO_PUNCTUATION).lower()),
}
"""The names that open_clip has for them."""


class Words:
    """The tokenizer in a `tokenizer.json`. clean: a name of CLEAN. padding: the id that fills captions up.

    literal: names of special tokens in a text are text, as for CLIP's own tokenizer.
    """

    def __init__(self, path: Path, context_length: int, clean: str, padding: int, literal: bool) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=context_length)
        self._tokenizer.encode_special_tokens = literal
        self._clean, self._padding, self.context_length = CLEAN[clean], padding, context_length

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """int32 (T, L), padded, and how many of them are the text's (T,)."""
        found = [one.ids for one in self._tokenizer.encode_batch([self._clean(text) for text in texts])]
        ids_TL = np.full((len(found), self.context_length), self._padding, np.int32)
        for row, ids in zip(ids_TL, found, strict=True):
            row[: len(ids)] = ids
        return ids_TL, np.array([len(ids) for ids in found], np.int64)
