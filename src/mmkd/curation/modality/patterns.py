"""The caption patterns of the taxonomy, sorted by the character they can begin with.

There are some 300; tried one after the other at every place of a caption they would cost more than all other checks of
its record. At the start of a word only those are tried that can begin with its first character.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from mmkd.corpus.taxonomy import TAXONOMY

_START = re.compile(r"(?<!\w)\S")
_DIGITS = frozenset("0123456789")


@dataclass(frozen=True)
class Mention:
    """Where a caption names or hints at a modality. named: by a word for the technique, not by a hint."""

    modality: str
    begin: int
    end: int
    named: bool


@dataclass(frozen=True)
class Bucket:
    """The patterns that begin with one character. anything: matches where one of them does; most words are none."""

    anything: re.Pattern[str]
    each: list[tuple[str, bool, re.Pattern[str]]]


def all_mentions(caption: str) -> Iterator[Mention]:
    """Every place where a pattern matches whole words; they may overlap."""
    spelled, folded = _index()
    lower = caption.lower()
    if len(lower) != len(caption):  # one capital has a longer small letter, and places would shift
        lower = "".join(small if len(small := character.lower()) == 1 else character for character in caption)
    for start in _START.finditer(caption):
        begin = start.start()
        for text, index in ((caption, spelled), (lower, folded)):
            bucket = index.get(text[begin])
            if bucket is None or not bucket.anything.match(text, begin):
                continue
            for modality, named, pattern in bucket.each:
                if match := pattern.match(text, begin):
                    yield Mention(modality, begin, match.end(), named)


def openings(pattern: str) -> frozenset[str]:
    """The characters that a match can begin with, of the regular expressions that `modalities.toml` uses.

    Raises ValueError for a pattern that begins with anything but characters, classes and groups of them.
    """
    if pattern.startswith("(?:"):
        inner, rest = _split_group(pattern)
        found = frozenset().union(*(openings(part) for part in _alternatives(inner)))
    elif pattern.startswith("["):
        end = pattern.index("]")
        found, rest = _class(pattern[1:end]), pattern[end + 1 :]
    elif pattern.startswith("\\d"):
        found, rest = _DIGITS, pattern[2:]
    elif pattern and (pattern[0].isalnum() or pattern[0] in "×&-"):
        found, rest = frozenset(pattern[0]), pattern[1:]
    else:
        raise ValueError(f"pattern {pattern!r}: expected it to begin with a character, a class or (?:...)")
    if rest.startswith(("?", "{0")):
        found |= openings(rest[1:] if rest[0] == "?" else rest[rest.index("}") + 1 :]) if rest[1:] else frozenset()
    return found


@cache
def _index() -> tuple[Mapping[str, Bucket], Mapping[str, Bucket]]:
    """First character -> patterns: of marks, as they are spelled, and of words and hints, in small letters."""
    spelled = [((entry.name, True), entry.marks) for entry in TAXONOMY]
    folded = [((entry.name, True), entry.words) for entry in TAXONOMY]
    folded += [((entry.name, False), entry.hints) for entry in TAXONOMY]
    return _buckets(spelled), _buckets([(key, tuple(map(str.lower, patterns))) for key, patterns in folded])


def _buckets(table: list[tuple[tuple[str, bool], tuple[str, ...]]]) -> dict[str, Bucket]:
    beginning: dict[str, dict[tuple[str, bool], list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, patterns in table:
        for pattern in patterns:
            for character in openings(pattern):
                beginning[character][key].append(pattern)
    return {
        character: Bucket(
            _whole_words([pattern for several in by_key.values() for pattern in several]),
            [(modality, named, _whole_words(several)) for (modality, named), several in by_key.items()],
        )
        for character, by_key in beginning.items()
    }


def _whole_words(patterns: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(patterns)})(?!\w)")


def _split_group(pattern: str) -> tuple[str, str]:
    """What stands in the group that the pattern begins with, and what follows it."""
    depth = 0
    for place, character in enumerate(pattern):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return pattern[3:place], pattern[place + 1 :]
    raise ValueError(f"pattern {pattern!r}: its group is never closed")


def _alternatives(inner: str) -> list[str]:
    parts, depth = [""], 0
    for character in inner:
        depth += (character == "(") - (character == ")")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _class(inside: str) -> frozenset[str]:
    ranges = re.findall(r"(.)-(.)", inside)
    single = re.sub(r".-.", "", inside)
    return frozenset(single).union(*(map(chr, range(ord(low), ord(high) + 1)) for low, high in ranges))
