"""How well the kinds of evidence agree, two by two, and which conflicts to look at first.

Letters: V different estimates, n disputed rows.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, repeat

import numpy as np

from mmkd.curation.modality.votes import Estimate, Vote, agree
from mmkd.features.evidence.corpus_votes import parent_of
from mmkd.features.evidence.stored import Estimates


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
            counts[one, other][parent_of(row[one]), parent_of(row[other])] += count
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


def doubt(votes: Mapping[str, Vote], estimate: Estimate) -> float:
    """The trust, 0..1, in the surest vote against an estimate; 0 where none is against it."""
    return max((vote.trust for vote in votes.values() if not agree(vote.modality, estimate.modality)), default=0.0)


def surest(estimates: Estimates, most: int) -> list[int]:
    """Up to `most` disputed rows: one of each different conflict before the second of any, those with the surest vote
    against them first.

    Conflicts differ when some kind of evidence names another modality. Equal ones come in the order of the rows.
    """
    kinds: dict[tuple[tuple[str, str], ...], int] = {}
    named = (tuple((kind, vote.modality) for kind, vote in votes.items()) for votes in estimates.votes)
    kind_V = np.array([kinds.setdefault(names, len(kinds)) for names in named])
    doubt_V = np.array([doubt(*both) for both in zip(estimates.votes, estimates.distinct, strict=True)])
    disputed_V = np.array([estimate.disputed for estimate in estimates.distinct])
    rows_n = np.flatnonzero(disputed_V[estimates.estimate_N])
    kind_n, doubt_n = kind_V[estimates.estimate_N[rows_n]], doubt_V[estimates.estimate_N[rows_n]]
    order_n = np.lexsort((rows_n, -doubt_n, kind_n))
    turn_n = np.empty(len(rows_n), np.int64)  # how many of its kind stand before
    turn_n[order_n] = np.arange(len(rows_n)) - np.searchsorted(kind_n[order_n], kind_n[order_n])
    found: list[int] = rows_n[np.lexsort((rows_n, -doubt_n, turn_n))][:most].tolist()
    return found
