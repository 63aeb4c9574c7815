"""How well the kinds of evidence agree, two by two, and where they do not."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
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


def pairwise(said: Iterable[Mapping[str, str]]) -> list[Agreement]:
    """The agreement of every two kinds that ever speak of the same record, in the order of their names.

    One pass; what is held in memory are counts of modalities.
    """
    counts: dict[tuple[str, str], Counter[tuple[str, str]]] = defaultdict(Counter)
    for row in said:
        for one, other in combinations(sorted(row), 2):
            counts[one, other][_broad(row[one]), _broad(row[other])] += 1
    return [
        Agreement(one, other, pairs.total(), _share(pairs), cohen_kappa(pairs))
        for (one, other), pairs in sorted(counts.items())
    ]


def disagreements(rows: Iterable[tuple[str, Mapping[str, str]]]) -> Iterator[Disagreement]:
    """Of (id, said), the records of which two kinds say what cannot both be true."""
    for identity, said in rows:
        if not all(agree(a, b) for a, b in combinations(said.values(), 2)):
            yield Disagreement(identity, dict(said))


def cohen_kappa(pairs: Counter[tuple[str, str]]) -> float:
    """Agreement beyond chance: (p - e) / (1 - e), e being that of two raters with these frequencies (Cohen, 1960).

    pairs: how often each pair of answers came. 1 for raters who always say the same single thing, where the formula is
    0 / 0. Raises ValueError without pairs.
    """
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
