"""The normal form of an answer: two answers with one normal form are the same answer."""

import re
import unicodedata

YES_NO = ("yes", "no")
ARTICLES = frozenset({"a", "an", "the"})
SPELT_ALIKE = (("<=", "≤"), (">=", "≥"), ("!=", "≠"), ("\u2212", "-"), ("\u2013", "-"))
KEPT = re.compile(
    r"(?P<comparison>[<>≤≥≠])"
    r"|(?P<sign>(?<![^\W_])[-±](?=\.?\d|ve\b))"  # -2.50 and -ve, not the hyphen of covid-19
    r"|(?P<inside>(?<=\d)[.,](?=\d))"
    r"|(?P<leading>(?<![\w.])\.(?=\d))"  # .5
)


def normal_answer(text: str) -> str:
    """Lower case, punctuation as space, no articles.

    What changes a value stays: a point or comma between digits, a point before them, the sign of a number, and
    comparisons (`<5 mm` is not `>5 mm`). So does what would vanish altogether ("A", "+").
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    for spelling, one in SPELT_ALIKE:
        folded = folded.replace(spelling, one)
    words = "".join(_kept(folded, place) for place in range(len(folded))).split()
    return " ".join(word for word in words if word not in ARTICLES) or " ".join(words) or folded


def _kept(text: str, place: int) -> str:
    one = text[place]
    if one.isalnum() or one in "%+" or unicodedata.category(one).startswith("M"):
        return one
    found = KEPT.match(text, place)
    if found is None:
        return " "
    return f" {one} " if found.lastgroup == "comparison" else one
