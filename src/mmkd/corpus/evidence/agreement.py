"""How well the kinds of evidence agree, two by two, and where they do not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from mmkd.corpus.evidence.caption import caption_vote
from mmkd.corpus.evidence.vote import Vote, agree, label_vote
from mmkd.corpus.taxonomy import BY_NAME, fine_modality


@dataclass(frozen=True)
class Agreement:
    """Two kinds of evidence on the records where both say something. share: 0..1; kappa: Cohen's, see `cohen_kappa`."""

    one: str
    other: str
    records: int
    share: float
    kappa: float


@dataclass(frozen=True)
class Disagreement:
    """A record whose kinds of evidence contradict each other. said: kind -> modality."""

    id: str
    said: dict[str, str]


def said_of(row: Mapping[str, str]) -> dict[str, str]:
    """Kind of evidence -> modality, of a corpus row with the columns caption, labels, modality and modality_evidence.

    The source's own statement counts where the row's modality is that; what teachers see is not in a corpus.
    """
    votes: dict[str, Vote | None] = {
        "label": label_vote([label for label in row["labels"].split("; ") if label]),
        "caption": caption_vote(row["caption"]),
    }
    said = {kind: vote.modality for kind, vote in votes.items() if vote is not None}
    return (
        {"source": fine_modality(row["modality"]), **said} if "source" in row["modality_evidence"].split("+") else said
    )


def pairwise(said: Sequence[Mapping[str, str]]) -> list[Agreement]:
    """The agreement of every two kinds that ever speak of the same record, in the order of their names."""
    found = []
    for one, other in combinations(sorted({kind for row in said for kind in row}), 2):
        pairs = [(_broad(row[one]), _broad(row[other])) for row in said if one in row and other in row]
        if pairs:
            share = sum(a == b for a, b in pairs) / len(pairs)
            found.append(Agreement(one, other, len(pairs), share, cohen_kappa(pairs)))
    return found


def disagreements(ids: Sequence[str], said: Sequence[Mapping[str, str]]) -> list[Disagreement]:
    """The records of which two kinds say what cannot both be true, in their order."""
    return [
        Disagreement(identity, dict(row))
        for identity, row in zip(ids, said, strict=True)
        if not all(agree(a, b) for a, b in combinations(row.values(), 2))
    ]


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Agreement beyond chance: (p - e) / (1 - e), e being that of two raters with these frequencies (Cohen, 1960).

    1 for raters who always say the same single thing, where the formula is 0 / 0. Raises ValueError without pairs.
    """
    if not pairs:
        raise ValueError("no pairs; kappa needs at least one")
    n = len(pairs)
    ones, others = (Counter(pair[side] for pair in pairs) for side in (0, 1))
    expected = sum(count * others[name] for name, count in ones.items()) / n**2
    observed = sum(a == b for a, b in pairs) / n
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def _broad(modality: str) -> str:
    """A modality in the words of its parent, so that x-ray and mammography agree."""
    return (BY_NAME[modality].parent or modality) if modality in BY_NAME else modality
