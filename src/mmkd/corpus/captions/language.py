"""The language of a caption, without a network or a model.

Captions are short and full of Latin, Greek letters and abbreviations, on which models trained on running text guess
wildly. Function words are few, common and not borrowed, so counting them is a small, explained and equal-everywhere
test; where a caption has none of them it says nothing rather than something.
"""

import re
import tomllib
from functools import cache
from importlib.resources import files

MIN_HITS = 2  # one "a", "in" or "la" alone proves nothing
SCRIPT_SHARE = 0.3  # of the letters; a Greek letter or two is a symbol
_WORD = re.compile(r"[^\W\d_]+")
_KANA = "ja"  # written with Chinese characters as well


def language_of(caption: str) -> str:
    """ISO 639-1, "" where the caption does not show it: too few function words, or as many of two languages."""
    letters = sum(character.isalpha() for character in caption)
    words, scripts = _table()
    counts = {name: len(pattern.findall(caption)) for name, pattern in scripts.items()}
    if letters and (script := max(counts, key=lambda name: counts[name])) and counts[script] >= SCRIPT_SHARE * letters:
        return _KANA if counts[_KANA] and script == "zh" else script
    tokens = [token.lower() for token in _WORD.findall(caption)]
    hits = {name: sum(token in known for token in tokens) for name, known in words.items()}
    first, second = sorted(hits, key=lambda name: -hits[name])[:2]
    return first if hits[first] >= MIN_HITS and hits[first] > hits[second] else ""


@cache
def _table() -> tuple[dict[str, frozenset[str]], dict[str, re.Pattern[str]]]:
    facts = tomllib.loads(files("mmkd.corpus.captions").joinpath("languages.toml").read_text())
    words = {name: frozenset(text.split()) for name, text in facts["words"].items()}
    return words, {name: re.compile(pattern) for name, pattern in facts["scripts"].items()}
