"""How well the kinds of evidence agree, two by two."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, repeat

from mmkd.corpus.taxonomy import BY_NAME


@dataclass(frozen=True)
class Agreement:
    """Two kinds of evidence on the records for which both have a vote. share: 0..1; kappa: Cohen's, see
    `cohen_kappa`."""

    one: str
    other: str
    records: int
    share: float
    kappa: float


def pairwise(votes: Iterable[Mapping[str, str]], times: Iterable[int] | None = None) -> list[Agreement]:
    """The agreement of every two kinds that ever have a vote on the same record, in the order of their names.

    times: of how many records each is; without, of one. One pass; what is held in memory are counts of modalities.
    """
    counts: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for row, count in zip(votes, times or repeat(1), strict=False):
        for one, other in combinations(sorted(row), 2):
            counts[one, other][_broad(row[one]), _broad(row[other])] += count
    return [
        Agreement(one, other, pairs.total(), _share(pairs), cohen_kappa(pairs))
        for (one, other), pairs in sorted(counts.items())
    ]


def cohen_kappa(pairs: Counter[tuple[str, str]]) -> float:
    """Agreement beyond chance: (p - e) / (1 - e), e being that of two raters with these frequencies (Cohen, 1960).

    pairs: how often each pair of answers came. 1 for raters who always give the same single answer, where the formula
    is 0 / 0. Raises ValueError without pairs."""
    if not (n := pairs.total()):
        raise ValueError("no pairs; kappa needs at least one")
    ones, others = Counter[str](), Counter[str]()
    for (one, other), times in pairs.items():
        ones[one] += times
        others[other] += times
    expected = sum(count * others[name] for name, count in ones.items()) / n**2
    return 1.0 if expected == 1 else (_share(pairs) - expected) / (1 - expected)


def _share(pairs: Counter[tuple[str, str]]) -> float:
    return sum(times for (one, other), times in pairs.items() if one == other) / pairs.total()


def _broad(modality: str) -> str:
    """A modality in the words of its parent, so that x-ray and mammography agree."""
    return (BY_NAME[modality].parent or modality) if modality in BY_NAME else modality
