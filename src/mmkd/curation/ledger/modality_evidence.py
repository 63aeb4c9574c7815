"""The evidence for the modalities of a corpus, and how often its kinds agree.

The corpus column `modality_evidence` names the kinds that have a vote (source, label, caption, image), joined by "+",
with "!" before one that is against the modality the record was given."""

from collections import Counter
from dataclasses import dataclass

NO_EVIDENCE = "none recorded"


@dataclass(frozen=True)
class Conflict:
    """A record whose sources of evidence for its modality disagree. evidence: as the corpus column has it."""

    id: str
    source: str
    modality: str
    evidence: str
    labels: str
    caption: str


def is_conflict(evidence: str) -> bool:
    """Whether one source of evidence disagrees with the modality a record was given."""
    return any(one.startswith("!") for one in evidence.split("+"))


@dataclass(frozen=True)
class Agreement:
    """For how many records a kind of evidence has a vote, and for how many it is the modality in the corpus."""

    spoke: int
    agreed: int


def agreements(evidence: Counter[str]) -> dict[str, Agreement]:
    """Kind of evidence (source, label, caption, image) -> how it did; and of two that both voted, `a and b`.

    Two agree when both are for the modality of the corpus; of two that are both against it that is not known, and
    they count as disagreeing.
    """
    spoke: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for value, times in evidence.items():
        if value == NO_EVIDENCE:
            continue
        votes = {one.removeprefix("!"): not one.startswith("!") for one in value.split("+")}
        names = sorted(votes)
        for group in [(name,) for name in names] + [(a, b) for a in names for b in names if a < b]:
            key = " and ".join(group)
            spoke[key] += times
            agreed[key] += times * all(votes[name] for name in group)
    order = sorted(spoke, key=lambda key: (" and " in key, key))
    return {key: Agreement(spoke[key], agreed[key]) for key in order}
