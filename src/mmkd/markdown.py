"""Text of data inside Markdown: it is shown as it is, and is never markup, a link, a script or a row of its own."""

import re
import unicodedata

LONGEST = 300  # characters of a text that comes from data
MARKUP = re.compile(r"([\\`*_{}\[\]()#|~!$:@])")
REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # marks that show a text in another order than it has


def line(text: str) -> str:
    """The text in one line, without control characters, cut to LONGEST."""
    shown = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs") else c for c in REORDERING.sub("", text))
    shown = " ".join(shown.split())
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3].rstrip() + "..."


def escaped(text: str) -> str:
    """In a sentence or in the cell of a table."""
    shown = line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\1", shown)
