"""What a student inherits: the strictest licence among its teachers and its data."""

import re
from collections.abc import Iterable

# from free to strict; a licence is of the last class that one of its words marks
CLASSES = {
    "permissive": r"apache|mit|bsd|cc0|cc by|public domain|isc|unlicense",
    "share-alike": r"sa|a?gpl|lgpl|[al]?gplv?\d|odbl|share ?alike",
    "non-commercial": r"nc|non ?commercial|research|academic",
    "no derivatives": r"nd|no ?derivatives",
}
UNKNOWN = "unknown"


def licence_class(licence: str) -> str:
    """One of CLASSES, or unknown where the text names no licence that we know."""
    text = re.sub(r"[^a-z0-9]+", " ", licence.lower())
    found = [name for name, marks in CLASSES.items() if re.search(rf"\b({marks})\b", text)]
    return found[-1] if found else UNKNOWN


def strictest(licences: Iterable[str]) -> str:
    """The strictest class among the licences. Without a licence there is no grant, so unknown is the strictest."""
    order = [*CLASSES, UNKNOWN]
    return max((licence_class(licence) for licence in licences), key=order.index, default=UNKNOWN)
