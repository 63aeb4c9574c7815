"""The vote of each kind of evidence for a modality, and the estimate from several votes.

A technique that a caption names is not always that of its image: "CT-guided biopsy", "compared with MRI", "no CT was
done". Such mentions do not count. Where two techniques are left, the vote is for the first, with less trust.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mmkd.modalities.taxonomy import (
    BY_NAME,
    NONCLINICAL_LABELS,
    OTHER,
    TAXONOMY,
    UNKNOWN,
    Mention,
    all_mentions,
    fine_modality,
    fine_modality_of_labels,
    plain_name,
)

KINDS = ("source", "label", "caption", "image")
"""In the order in which they stand in `modality_evidence`."""
# How often each is right where it has a vote. A source that states the modality was curated by someone; BIOMEDICA's
# labels belong to clusters of images and are often wrong.
SOURCE_TRUST = 0.97
LABEL_TRUST = 0.7
# Trust by strength. Of real pairs whose modality is known were right: 289 of 295, 19 of 26, 33 of 34 and 49 of 49. The
# patterns were corrected on these, so the last two, which rest on words of findings, are trusted less than that.
NAMED = 0.95
NAMED_AMONG_OTHERS = 0.7  # two techniques named, this one first
HINTED = 0.85
HINTED_ONCE = 0.8
CONTEXT = 60  # characters before a mention in which it can be taken back

_TAKEN_BACK_BEFORE = re.compile(
    r"(?:\b(?:no|not|non|without|unlike|versus|vs\.?|instead of|rather than|prior to|before|previous|recent|earlier"
    r"|subsequent|follow(?:ing|ed by)|confirmed (?:by|on|with|at)|compar(?:ed|able|ison) (?:with|to)|correspond\w* to"
    r"|correlat\w+ (?:with|to)|seen (?:also )?on the|in contrast to|as opposed to|negative|underwent|candidate for"
    r"|referred for|awaiting|scheduled for|further|guided by|guidance of|recommend\w*)"
    r"(?: (?:the|a|an|any|same|initial|prior|previous|recent|chest|abdominal|brain|contrast|enhanced))*\s*)$",
    re.IGNORECASE,
)
_TAKEN_BACK_AFTER = re.compile(
    r"^(?:[- ](?:guid(?:ed|ance)|confirmed|directed|compatible|negative|proven|based segmentation)"
    r"| (?:is|are|was|were) (?:not|recommended|scheduled|planned|pending|normal|unremarkable|negative))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Vote:
    """A modality of the taxonomy (or `other`) and the probability, 0..1, that it is right."""

    modality: str
    trust: float


@dataclass(frozen=True)
class Estimate:
    """The modality (`unknown` without any vote), its probability 0..1, and the kinds of evidence for and against it:
    "label+!caption"."""

    modality: str
    confidence: float
    evidence: str

    @property
    def disputed(self) -> bool:
        return "!" in self.evidence


def source_vote(stated: str) -> Vote | None:
    """Of what a source states of its own records; None where it states nothing."""
    modality = fine_modality(stated)
    return None if modality == UNKNOWN else Vote(modality, SOURCE_TRUST)


def label_vote(labels: Sequence[str]) -> Vote | None:
    """Of labels: a modality, or `other` where all are of figures without patients; else None."""
    modality = fine_modality_of_labels(labels)
    if modality in BY_NAME or (labels and all(plain_name(label) in NONCLINICAL_LABELS for label in labels)):
        return Vote(modality, LABEL_TRUST)
    return None


def caption_vote(caption: str) -> Vote | None:
    """The modality that a caption names, else the one it hints at; None where it does neither, or hints at several."""
    found = list(mentions(caption))
    named = _names(mention for mention in found if mention.named)
    if named:
        first = named[0]
        finest = next((name for name in named if BY_NAME[name].parent == first), first)
        alone = all(agree(name, finest) for name in named)
        return Vote(finest, NAMED if alone else NAMED_AMONG_OTHERS)
    hints = [mention.modality for mention in found]
    if not hints or not all(agree(hint, hints[0]) for hint in hints):
        return None
    return Vote(hints[0], HINTED if len(hints) > 1 else HINTED_ONCE)


def mentions(caption: str) -> Iterator[Mention]:
    """All that count, in the order of the text; of those that overlap, the longest."""
    found = sorted(
        all_mentions(caption), key=lambda mention: (mention.begin, not mention.named, mention.begin - mention.end)
    )
    end = -1
    for mention in found:
        if mention.begin >= end:
            end = mention.end
            if not _taken_back(caption, mention):
                yield mention


def _names(found: Iterator[Mention]) -> list[str]:
    return list(dict.fromkeys(mention.modality for mention in found))


def _taken_back(caption: str, mention: Mention) -> bool:
    before, after = (
        caption[max(0, mention.begin - CONTEXT) : mention.begin],
        caption[mention.end : mention.end + CONTEXT],
    )
    return bool(_TAKEN_BACK_BEFORE.search(before) or _TAKEN_BACK_AFTER.search(after))


def estimated(stated: str, labels: Sequence[str], caption: Vote | None, by: Literal["source", "evidence"]) -> Estimate:
    """By all evidence together, or how it stands to what the source states, or its labels where it states nothing."""
    votes = {"source": source_vote(stated), "label": label_vote(labels), "caption": caption}
    if by == "evidence":
        return weigh(votes)
    return judge(votes, (fine_modality(stated) if stated else fine_modality_of_labels(labels)) or UNKNOWN)


def weigh(votes: Mapping[str, Vote | None]) -> Estimate:
    """The modality with the highest posterior among those voted for; the earlier kind of KINDS wins a tie.

    Naive Bayes over all modalities and `other`, with a flat prior: a vote of trust r has likelihood r under its own
    modality and those below it in the taxonomy (a vote for x-ray is not one against mammography), and (1 - r) / M under
    the others, M being the number of modalities."""
    cast = tuple(_cast(votes).values())
    if not cast:
        return Estimate(UNKNOWN, 0.0, "")
    return judge(votes, max((vote.modality for vote in cast), key=lambda name: _log_posterior(cast, name)))


def judge(votes: Mapping[str, Vote | None], modality: str) -> Estimate:
    """How the votes stand to a modality that is settled: its posterior as in `weigh`, and which agree with it."""
    cast = _cast(votes)
    evidence = "+".join(kind if agree(vote.modality, modality) else f"!{kind}" for kind, vote in cast.items())
    if not cast or modality == UNKNOWN:
        return Estimate(modality, 0.0, evidence)
    return Estimate(modality, _posterior(tuple(cast.values()), modality), evidence)


def agree(one: str, other: str) -> bool:
    """Whether two modalities can be true of one image: equal, or one belongs to the other."""
    return one == other or _finer(one, other) or _finer(other, one)


def _finer(name: str, parent: str) -> bool:
    return name in BY_NAME and BY_NAME[name].parent == parent != ""


def _cast(votes: Mapping[str, Vote | None]) -> dict[str, Vote]:
    return {kind: vote for kind in KINDS if (vote := votes.get(kind)) is not None}


@lru_cache(1024)  # records repeat few votes many times
def _posterior(cast: tuple[Vote, ...], modality: str) -> float:
    own = _log_posterior(cast, modality)
    # what is finer than the modality does not speak against it
    rivals = [name for name in (*BY_NAME, OTHER) if name != modality and not _finer(name, modality)]
    odds = sum(math.exp(min(_log_posterior(cast, name) - own, 700.0)) for name in rivals)
    return 1 / (1 + odds)


@lru_cache(1024)
def _log_posterior(cast: tuple[Vote, ...], truth: str) -> float:
    """Up to a constant; the prior is flat."""
    return sum(_log_likelihood(vote, truth) for vote in cast)


def _log_likelihood(vote: Vote, truth: str) -> float:
    trust = min(max(vote.trust, 1e-6), 1 - 1e-6)  # a certain vote could never be outvoted
    right = vote.modality == truth or _finer(truth, vote.modality)
    return math.log(trust if right else (1 - trust) / len(TAXONOMY))
