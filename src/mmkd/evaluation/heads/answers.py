"""The vocabulary of an answer head."""

from collections import Counter
from collections.abc import Iterable, Sequence


def vocabulary_of(answers: Iterable[str], most: int) -> list[str]:
    """The most frequent normal answers, `most` at most; equally frequent ones in alphabetical order."""
    counts = Counter(answers)
    return sorted(counts, key=lambda answer: (-counts[answer], answer))[:most]


def places_of(answers: Sequence[str], vocabulary: Sequence[str]) -> list[int]:
    """The place of every answer in the vocabulary, -1 for those outside."""
    place = {answer: number for number, answer in enumerate(vocabulary)}
    return [place.get(answer, -1) for answer in answers]
