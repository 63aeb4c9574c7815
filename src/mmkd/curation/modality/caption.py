"""The vote of a caption for its image's modality, by the patterns of the taxonomy, strongest first.

A technique that a caption names is not always that of the image: "CT-guided biopsy", "compared with MRI", "no CT was
done". Such mentions do not count. Where two techniques are left, the vote is for the first, with less trust.

There are some 300 patterns; tried one after the other at every place of a caption they would cost more than all other
checks of its record. At the start of a word only those are tried that can begin with its first character.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from mmkd.corpus.taxonomy import BY_NAME, TAXONOMY
from mmkd.curation.modality.votes import Vote, agree

# Trust by strength. Of real pairs whose modality is known were right: 289 of 295, 19 of 26, 33 of 34 and 49 of 49. The
# patterns were corrected on these, so the last two, which rest on words of findings, are trusted less than that.
NAMED = 0.95
NAMED_AMONG_OTHERS = 0.7  # two techniques named, this one first
HINTED = 0.85
HINTED_ONCE = 0.8
CONTEXT = 60  # characters before a mention in which it can be taken back

_TAKEN_BACK_BEFORE = re.compile(
    r"(?:\b(?:no|not|non|without|unlike|versus|vs\.?|instead of|rather than|prior to|before|previous|recent|earlier"
    r"|subsequent|follow(?:ing|ed by)|confirmed (?:by|on|with|at)|compar(?:ed|able|ison) (?:with|to)|correspond\w* to"
    r"|correlat\w+ (?:with|to)|seen (?:also )?on the|in contrast to|as opposed to|negative|underwent|candidate for"
    r"|referred for|awaiting|scheduled for|further|guided by|guidance of|recommend\w*)"
    r"(?: (?:the|a|an|any|same|initial|prior|previous|recent|chest|abdominal|brain|contrast|enhanced))*\s*)$",
    re.IGNORECASE,
)
_TAKEN_BACK_AFTER = re.compile(
    r"^(?:[- ](?:guid(?:ed|ance)|confirmed|directed|compatible|negative|proven|based segmentation)"
    r"| (?:is|are|was|were) (?:not|recommended|scheduled|planned|pending|normal|unremarkable|negative))",
    re.IGNORECASE,
)


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


def caption_vote(caption: str) -> Vote | None:
    """The modality that a caption names, else the one it hints at; None where it does neither, or hints at several."""
    found = list(mentions(caption))
    named = _names(mention for mention in found if mention.named)
    if named:
        first = named[0]
        finest = next((name for name in named if BY_NAME[name].parent == first), first)
        alone = all(agree(name, finest) for name in named)
        return Vote(finest, NAMED if alone else NAMED_AMONG_OTHERS)
    hints = [mention.modality for mention in found]
    if not hints or not all(agree(hint, hints[0]) for hint in hints):
        return None
    return Vote(hints[0], HINTED if len(hints) > 1 else HINTED_ONCE)


def mentions(caption: str) -> Iterator[Mention]:
    """All that count, in the order of the text; of those that overlap, the longest."""
    found = sorted(
        all_mentions(caption), key=lambda mention: (mention.begin, not mention.named, mention.begin - mention.end)
    )
    end = -1
    for mention in found:
        if mention.begin >= end:
            end = mention.end
            if not _taken_back(caption, mention):
                yield mention


def _names(found: Iterator[Mention]) -> list[str]:
    return list(dict.fromkeys(mention.modality for mention in found))


def _taken_back(caption: str, mention: Mention) -> bool:
    before, after = (
        caption[max(0, mention.begin - CONTEXT) : mention.begin],
        caption[mention.end : mention.end + CONTEXT],
    )
    return bool(_TAKEN_BACK_BEFORE.search(before) or _TAKEN_BACK_AFTER.search(after))


_START = re.compile(r"(?<!\w)\S")
_DIGITS = frozenset("0123456789")


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
