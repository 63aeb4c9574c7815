"""What a student inherits: the strictest licence among its teachers and its data.

Licences are told by their usual names, by the addresses of Creative Commons, and by the sentences that articles spell
them out in ("the Creative Commons Attribution License, which permits ...").
"""

import re
from collections.abc import Iterable
from functools import lru_cache

_STUDY = r"(?:research|academic|scientific|education(?:al)?|teaching)"
# from free to strict; a licence is of the last class that one of its words marks
CLASSES = {
    "permissive": r"apache|mit|bsd|cc0|cc zero|cc mark|cc by|cc attribution|public domain|isc|unlicense",
    "share-alike": r"sa|a?gpl|lgpl|[al]?gplv?\d|gnu (?:\w+ )?general public|odbl|share ?alike",
    "non-commercial": rf"nc|non ?commercial|not? (?:for )?commercial|academic|research output"
    rf"|{_STUDY}(?: (?:and|or) {_STUDY})* (?:use|only|purposes?)",
    "no derivatives": r"nd|no ?deriv(?:s|atives?)?",
}
UNKNOWN = "unknown"

_ADDRESS = re.compile(r"creativecommons\.org/(?:licen[cs]es|publicdomain)/")  # "by-nc/4.0", "zero/1.0", "mark/1.0"
_BOTH = re.compile(r"\bcommercial (?:and|or|as well as) non ?commercial\b|\bnon ?commercial (?:and|or) commercial\b")
# what a text says instead of a licence, and where it says that every record has its own
_UNSTATED = re.compile(r"(?:none|nothing|no licen[cs]e|not (?:stated|established|known|specified|given))\b")
_EACH = re.compile(r"\bper (?:article|figure|file|image|record)\b|\bown (?:terms|licen[cs]es?)\b")
_CLAUSES = re.compile(r"[;,()]|\bvia\b")
_CARRIER = re.compile(r"\b(?:repository|code)\s*$")  # the licence of what brings the data, not theirs
_MARKS = {name: re.compile(rf"\b(?:{marks})\b") for name, marks in CLASSES.items()}


@lru_cache(4096)  # records repeat few licences many times
def licence_class(licence: str) -> str:
    """One of CLASSES, or unknown where the text names no licence that we know, or none for this record."""
    lower = _ADDRESS.sub(" cc ", licence.lower()).replace("creative commons", "cc")
    clauses = [clause for clause in _CLAUSES.split(lower) if clause.strip()]
    theirs = [clause for clause in clauses if not _CARRIER.search(clause)] or clauses
    if _UNSTATED.match(_plain(lower)) or _EACH.search(_plain(lower)):
        return UNKNOWN
    text = _BOTH.sub(" ", _plain(" ; ".join(theirs)))
    found = [name for name, marks in _MARKS.items() if marks.search(text)]
    return found[-1] if found else UNKNOWN


def strictest(licences: Iterable[str]) -> str:
    """The strictest class among the licences. Without a licence there is no grant, so unknown is the strictest."""
    order = [*CLASSES, UNKNOWN]
    return max((licence_class(licence) for licence in licences), key=order.index, default=UNKNOWN)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())
