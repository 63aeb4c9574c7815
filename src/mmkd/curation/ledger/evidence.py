"""What was evidence for a record's modality, and whether its kinds agree.

The corpus column `modality_evidence` names the kinds that spoke (source, label, caption, image), joined by "+", with
"!" before one that is against the modality the record was given.
"""

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
    """How often a kind of evidence spoke of records, and how often for the modality they were given in the end."""

    spoke: int
    agreed: int


def agreements(evidence: Counter[str]) -> dict[str, Agreement]:
    """Kind of evidence (source, label, caption, image) -> how it did; and of two that both spoke, `a and b`.

    Two agree when both are for the modality that was chosen; of two that are both against it that is not known, and
    they count as disagreeing.
    """
    spoke: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for value, times in evidence.items():
        if value == NO_EVIDENCE:
            continue
        said = {one.removeprefix("!"): not one.startswith("!") for one in value.split("+")}
        names = sorted(said)
        for group in [(name,) for name in names] + [(a, b) for a in names for b in names if a < b]:
            key = " and ".join(group)
            spoke[key] += times
            agreed[key] += times * all(said[name] for name in group)
    order = sorted(spoke, key=lambda key: (" and " in key, key))
    return {key: Agreement(spoke[key], agreed[key]) for key in order}
