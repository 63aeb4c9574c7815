"""Words by which a caption shows that its figure is drawn or measured."""

import re
import tomllib
from functools import cache
from importlib.resources import files

BEGINNING = 160  # characters; what stands later describes one panel of several


def drawn_word(caption: str) -> str:
    """By which words a caption says that its figure is drawn or measured, no picture of a patient; "" without any."""
    found = _any_word().search(caption[:BEGINNING])
    return found[0] if found else ""


@cache
def drawn_words() -> dict[str, str]:
    """Pattern -> what it is meant to find."""
    words: dict[str, str] = tomllib.loads(files(__package__).joinpath("drawn.toml").read_text())["words"]
    return words


@cache
def _any_word() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(drawn_words())})\b", re.IGNORECASE)
