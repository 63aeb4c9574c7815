"""Which conflicts are shown first: one of each kind, the most doubted ones before others."""

import numpy as np
import pytest

from mmkd.curation.modality.votes import Vote, weigh
from mmkd.features.evidence.agreement import doubt, surest
from mmkd.features.evidence.corpus_votes import CorpusVotes
from mmkd.features.evidence.stored import Estimates

CAPTIONS = [None, Vote("ct", 0.95), Vote("mri", 0.95)]
IMAGES = [None, Vote("mri", 0.6), Vote("mri", 0.9), Vote("ultrasound", 0.7), Vote("ct", 0.9)]


def estimates(caption_N: list[int], image_N: list[int]) -> Estimates:
    """Rows of which captions and images say so; sources and labels say nothing."""
    place_NK = np.zeros((len(caption_N), 3), np.int16)
    place_NK[:, 2] = caption_N
    nothing = np.zeros(len(caption_N))
    return Estimates(
        CorpusVotes(CAPTIONS, place_NK, nothing.astype(np.int8), nothing.astype(np.uint64)), IMAGES, np.array(image_N)
    )


def test_one_of_each_kind_comes_before_the_second_of_any() -> None:
    # rows:              0  1  2  3  4  5  6  7
    rows = estimates([1, 1, 1, 1, 0, 2, 1, 1], [1, 4, 2, 3, 2, 3, 3, 2])
    # ct against mri: rows 0 (0.6), 2 and 7 (0.9); ct against ultrasound: 3 and 6; mri against ultrasound: 5
    assert surest(rows, 10) == [2, 3, 5, 7, 6, 0]
    assert surest(rows, 2) == [2, 3]


def test_without_conflicts_there_are_none() -> None:
    assert surest(estimates([1, 0, 2], [4, 1, 0]), 10) == []


@pytest.mark.parametrize(
    ("image", "expected"),
    [(Vote("mri", 0.8), 0.8), (Vote("ct", 0.8), 0.0), (None, 0.0)],
)
def test_doubt_is_the_trust_in_the_surest_vote_against_the_verdict(image: Vote | None, expected: float) -> None:
    votes = {kind: vote for kind, vote in {"caption": Vote("ct", 0.95), "image": image}.items() if vote is not None}
    assert doubt(votes, weigh(votes)) == expected


def test_who_is_outvoted_is_doubt_however_sure() -> None:
    votes = {"source": Vote("ct", 0.97), "caption": Vote("mri", 0.95), "image": Vote("mri", 0.9)}
    assert weigh(votes).modality == "mri"
    assert doubt(votes, weigh(votes)) == 0.97
