"""The language of a caption, without a network or a model.

Captions are short and full of Latin, Greek letters and abbreviations, on which models trained on running text guess
wildly. Function words are few, common and not borrowed, so counting them is a small, explained and equal-everywhere
test; a caption without any has no language.
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
    if script := _script_of(caption):
        return script
    languages, speakers, _ = _table()
    hits = dict.fromkeys(languages, 0)
    for word in _WORD.findall(caption):
        for name in speakers.get(word.lower(), ()):
            hits[name] += 1
    first, second = sorted(hits, key=lambda name: -hits[name])[:2]
    return first if hits[first] >= MIN_HITS and hits[first] > hits[second] else ""


def known_languages() -> list[str]:
    """All that `language_of` can detect."""
    languages, _, scripts = _table()
    return sorted({*languages, *scripts})


def _script_of(caption: str) -> str:
    """The language whose own script most letters are of, "" where those are too few."""
    if caption.isascii():  # no such script has a letter in ASCII
        return ""
    letters = sum(character.isalpha() for character in caption)
    _, _, scripts = _table()
    counts = {name: len(pattern.findall(caption)) for name, pattern in scripts.items()}
    script = max(counts, key=lambda name: counts[name])
    if not letters or counts[script] < SCRIPT_SHARE * letters:
        return ""
    return _KANA if counts[_KANA] and script == "zh" else script


@cache
def _table() -> tuple[list[str], dict[str, list[str]], dict[str, re.Pattern[str]]]:
    """The languages known by their words, word -> languages that have it, language -> its script."""
    facts = tomllib.loads(files("mmkd.curation.captions").joinpath("languages.toml").read_text())
    speakers: dict[str, list[str]] = {}
    for name, text in facts["words"].items():
        for word in set(text.split()):
            speakers.setdefault(word, []).append(name)
    return list(facts["words"]), speakers, {name: re.compile(pattern) for name, pattern in facts["scripts"].items()}
