"""Answers as classes: their normal form and the vocabulary of a head."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

ARTICLES = frozenset({"a", "an", "the"})


def normal_answer(text: str) -> str:
    """Lower case, punctuation as space, no articles; two answers with one normal form are the same answer.

    A point or comma between digits stays, and so does what would vanish altogether ("A", "+").
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()
    words = "".join(_kept(folded, place) for place in range(len(folded))).split()
    return " ".join(word for word in words if word not in ARTICLES) or " ".join(words) or folded


def _kept(text: str, place: int) -> str:
    one = text[place]
    if one.isalnum() or one in "%+" or unicodedata.category(one).startswith("M"):
        return one
    inside_number = one in ".," and text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()
    return one if inside_number else " "


def vocabulary_of(answers: Iterable[str], most: int) -> list[str]:
    """The most frequent normal answers, `most` at most; equally frequent ones in alphabetical order."""
    counts = Counter(answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))[:most]


def places_of(answers: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The place of every answer in the vocabulary, -1 for those outside."""
    place = {answer: number for number, answer in enumerate(vocabulary)}
    return [place.get(answer, -1) for answer in answers]
