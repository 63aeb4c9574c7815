"""Rows with contradicting evidence: which of them to look at first.

Letters: V different estimates, n disputed rows.
"""

from collections.abc import Mapping

import numpy as np

from mmkd.curation.modality.votes import Estimate, Vote, agree
from mmkd.features.evidence.stored import Estimates


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
