"""The vote of one kind of evidence for a modality, and the estimate from several votes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mmkd.corpus.taxonomy import (
    BY_NAME,
    NONCLINICAL_LABELS,
    OTHER,
    TAXONOMY,
    UNKNOWN,
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
