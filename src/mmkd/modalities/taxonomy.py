"""The modalities of a corpus as `modalities.toml` defines them: the many names that sources give them, and the patterns
by which captions mention them.

There are some 300 patterns; tried one after the other at every place of a caption they would cost more than all other
checks of its record. At the start of a word only those are tried that can begin with its first character.
"""

import re
import string
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any
from unicodedata import combining, normalize

OTHER = "other"  # known to be none of them
UNKNOWN = "unknown"  # the source does not say
RESEMBLING = 0.75  # of `difflib`, of names with a typing error
_START = re.compile(r"(?<!\w)\S")


@dataclass(frozen=True)
class Modality:
    """One modality; the fields are explained at the top of `modalities.toml`."""

    name: str
    parent: str = ""
    evaluated: bool = False
    synonyms: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()


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


def plain_name(name: str | None) -> str:
    """A name in lower case with single blanks and without accents, as names are compared."""
    letters = [letter for letter in normalize("NFD", name or "").lower() if not combining(letter)]
    return " ".join(normalize("NFC", "".join(letters)).replace("_", " ").split())


def _read(entry: dict[str, Any]) -> Modality:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Modality(**fields)


_FACTS = tomllib.loads(files("mmkd.modalities").joinpath("modalities.toml").read_text())
TAXONOMY = tuple(_read(entry) for entry in _FACTS["modality"])
BY_NAME = {modality.name: modality for modality in TAXONOMY}
MODALITIES = tuple(modality.name for modality in TAXONOMY if modality.evaluated)
"""The nine of the evaluation."""
NONCLINICAL_LABELS = frozenset(_FACTS["nonclinical_labels"])
UNSPECIFIC_LABELS = frozenset(_FACTS["unspecific_labels"])
_NAMES = {
    plain_name(name): modality.name
    for modality in TAXONOMY
    for name in (modality.name, *modality.synonyms, *modality.labels)
}


def fine_modality(name: str | None) -> str:
    """The modality that a source's name means: one of TAXONOMY, `other` for any other name, `unknown` for none."""
    plain = plain_name(name)
    if not plain or plain == UNKNOWN:
        return UNKNOWN
    return _NAMES.get(plain, OTHER)


def is_unknown(name: str | None) -> bool:
    """Whether a name is stated that is none of TAXONOMY, nor a label of another kind of picture: it becomes `other`."""
    plain = plain_name(name)
    return fine_modality(name) == OTHER and plain not in {OTHER, *NONCLINICAL_LABELS, *UNSPECIFIC_LABELS}


def resembling(name: str) -> str:
    """The known name that is spelled most like one that is not known; "" where none is."""
    found = get_close_matches(plain_name(name), _NAMES, 1, RESEMBLING) if len(plain_name(name)) > 3 else []
    return next(iter(found), "")


def evaluated_modality(fine: str) -> str:
    """The one of MODALITIES that a modality is or belongs to, else `other`; `unknown` stays."""
    if fine == UNKNOWN:
        return UNKNOWN
    modality = BY_NAME.get(fine)
    if modality is None:
        return OTHER
    return modality.name if modality.evaluated else modality.parent or OTHER


def canonical_modality(name: str | None) -> str:
    """The canonical id of a modality: one of MODALITIES, `other` for any other name, `unknown` for none."""
    return evaluated_modality(fine_modality(name))


def fine_modality_of_labels(labels: Iterable[str]) -> str:
    """Of an image with several labels: the first that names one of the nine or of their parts, else the first that
    names a modality at all, else `other`; "" without labels."""
    found = [fine_modality(label) for label in labels]
    known = [name for name in found if name in BY_NAME]
    ours = [name for name in known if evaluated_modality(name) != OTHER]
    return next(iter((*ours, *known)), OTHER if found else "")


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


def openings(pattern: str, characters: Iterable[str]) -> list[str]:
    """Those of the characters that a match of the pattern can begin with."""
    # other than re, it can say that a text is the beginning of a match
    import regex  # type: ignore[import-untyped]

    compiled = regex.compile(pattern)
    return [character for character in characters if compiled.match(character, partial=True)]


@cache
def _index() -> tuple[Mapping[str, Bucket], Mapping[str, Bucket]]:
    """First character -> patterns: of marks, as they are spelled, and of words and hints, in small letters."""
    spelled = [((entry.name, True), entry.marks) for entry in TAXONOMY]
    folded = [((entry.name, True), entry.words) for entry in TAXONOMY]
    folded += [((entry.name, False), entry.hints) for entry in TAXONOMY]
    return _buckets(spelled), _buckets([(key, tuple(map(str.lower, patterns))) for key, patterns in folded])


def _buckets(table: list[tuple[tuple[str, bool], tuple[str, ...]]]) -> dict[str, Bucket]:
    beginning: dict[str, dict[tuple[str, bool], list[str]]] = defaultdict(lambda: defaultdict(list))
    spelled = {character for _, patterns in table for character in "".join(patterns)}
    characters = sorted(spelled | {*string.ascii_letters, *string.digits})  # the others come out of ranges and \d
    for key, patterns in table:
        for pattern in patterns:
            for character in openings(pattern, characters):
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
