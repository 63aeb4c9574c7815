"""Votes for a modality: what a caption names, what it takes back, and the estimate from all votes."""

import math
import re
import string
from itertools import pairwise as pairwise_of

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.modality.votes import (
    HINTED,
    HINTED_ONCE,
    LABEL_TRUST,
    NAMED,
    NAMED_AMONG_OTHERS,
    SOURCE_TRUST,
    Vote,
    caption_vote,
    judge,
    label_vote,
    mentions,
    source_vote,
    weigh,
)
from mmkd.modalities.taxonomy import BY_NAME, OTHER, TAXONOMY, UNKNOWN, all_mentions, openings

VOTES = st.builds(Vote, st.sampled_from([*BY_NAME, OTHER]), st.floats(0.4, 0.99))


@pytest.mark.parametrize(
    ("caption", "modality", "trust"),
    [
        ("Axial CT of the chest.", "ct", NAMED),
        ("Computed tomography shows a mass", "ct", NAMED),
        ("Contrast-enhanced HRCT", "ct", NAMED),
        ("T2-weighted sagittal image", "mri", NAMED),
        ("Kidney biopsy, H&E, ×400", "histopathology", NAMED),
        ("SD-OCT B-scan of the macula", "oct", NAMED),
        ("Chest X-ray (PA view)", "x-ray", NAMED),
        ("a mammogram of the left breast", "mammography", NAMED),
        ("Bone lesion on X-ray and mammography", "mammography", NAMED),
        ("FDG-PET/CT at baseline", "nuclear imaging", NAMED),
        ("A resting-state fMRI map", "functional mri", NAMED),
        ("Dermatoscopic image of a nevus", "dermoscopy", NAMED),
        ("CT-guided biopsy; hematoxylin and eosin", "histopathology", NAMED),
        ("Ultrasound image compared with CT", "ultrasound", NAMED),
        ("No CT was done; colonoscopy shows a polyp", "endoscopy", NAMED),
        ("CT and MRI of the brain", "ct", NAMED_AMONG_OTHERS),
        ("Hyperintense lesion with fat-sat", "mri", HINTED),
        ("A hypoechoic nodule", "ultrasound", HINTED_ONCE),
    ],
)
def test_captions_name_their_technique(caption: str, modality: str, trust: float) -> None:
    assert caption_vote(caption) == Vote(modality, trust)


@pytest.mark.parametrize(
    "caption",
    [
        "Give us the octave of the fundamental",  # us, oct, fund
        "There is a large pleural effusion.",
        "A hypodense and hyperechoic lesion",  # hints that contradict each other
        "Compared with MRI",
        "",
    ],
)
def test_a_caption_that_names_no_technique_has_no_vote(caption: str) -> None:
    assert caption_vote(caption) is None


@given(st.lists(st.sampled_from(["CT", "MRI", "no", "-guided", "H&E", "x40", "echoic", ".", "PET/CT", "ÄΩ"])))
def test_mentions_stand_in_order_and_do_not_overlap(pieces: list[str]) -> None:
    caption = " ".join(pieces)
    found = list(mentions(caption))
    assert all(one.end <= other.begin for one, other in pairwise_of(found))
    assert all(0 <= mention.begin < mention.end <= len(caption) for mention in found)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(?:CE|(?:P|Q)-)?CTs?", "CPQ"),
        ("[AB][- ]?lines?", "AB"),
        ("[×x]", "×x"),
        ("x?a{0,2}b", "xab"),
        ("\\d{2}", "0123456789"),
    ],
)
def test_the_characters_a_pattern_can_begin_with(pattern: str, expected: str) -> None:
    assert openings(pattern, string.printable + "×µ") == sorted(expected, key=(string.printable + "×µ").index)


@given(
    st.lists(st.sampled_from(["CT", "cT", "MRI", "H&E", "×400", "T2*", "B-scan", "İ", "echoic", "x-ray,", "a", "40x"]))
)
def test_the_index_finds_what_every_pattern_on_its_own_finds(pieces: list[str]) -> None:
    caption = " ".join(pieces)
    longest: dict[tuple[str, int], int] = {}
    for entry in TAXONOMY:
        for patterns, flags in ((entry.words, re.IGNORECASE), (entry.marks, re.NOFLAG), (entry.hints, re.IGNORECASE)):
            for pattern in patterns:
                for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", caption, flags):
                    place = (entry.name, match.start())
                    longest[place] = max(longest.get(place, 0), match.end())
    assert {(found.modality, found.begin) for found in all_mentions(caption)} == set(longest)


def test_a_source_is_trusted_more_than_labels() -> None:
    assert source_vote("Computed Tomography") == Vote("ct", SOURCE_TRUST)
    assert source_vote("") is source_vote("unknown") is None
    assert source_vote("Other") == Vote(OTHER, SOURCE_TRUST)
    assert label_vote(["light microscopy", "plot"]) == Vote("histopathology", LABEL_TRUST)
    assert label_vote(["plot", "Plots and Charts"]) == Vote(OTHER, LABEL_TRUST)
    assert label_vote(["clinical imaging"]) is label_vote([]) is None


def test_an_estimate_worked_by_hand() -> None:
    verdict = weigh({"label": Vote("ct", 0.7), "caption": Vote("mri", 0.95)})
    ct, mri, rest = 0.7 * 0.05 / 26, 0.95 * 0.3 / 26, (0.3 / 26) * (0.05 / 26)
    # 24: who says MRI does not deny that it is functional, so that is no rival
    assert (verdict.modality, verdict.evidence, verdict.disputed) == ("mri", "!label+caption", True)
    assert math.isclose(verdict.confidence, mri / (mri + ct + 24 * rest))


@given(st.dictionaries(st.sampled_from(["source", "label", "caption", "image"]), VOTES | st.none()))
def test_an_estimate_is_one_of_the_votes_and_names_all_of_them(votes: dict[str, Vote | None]) -> None:
    verdict = weigh(votes)
    cast = {kind: vote for kind, vote in votes.items() if vote is not None}
    assert verdict.modality in {vote.modality for vote in cast.values()} | (set() if cast else {UNKNOWN})
    assert 0 <= verdict.confidence <= 1
    assert {kind.lstrip("!") for kind in verdict.evidence.split("+") if kind} == set(cast)
    if len({vote.modality for vote in cast.values()}) == 1:
        assert not verdict.disputed
        assert verdict.confidence >= max(vote.trust for vote in cast.values()) - 1e-9
    assert weigh(dict(reversed(votes.items()))) == verdict


def test_a_finer_vote_refines_and_does_not_dispute() -> None:
    verdict = weigh({"source": source_vote("X-ray"), "caption": caption_vote("Mammogram, craniocaudal view")})
    assert (verdict.modality, verdict.evidence) == ("mammography", "source+caption")


def test_a_settled_modality_is_judged_not_changed() -> None:
    verdict = judge({"caption": Vote("ct", 0.95)}, "mri")
    assert (verdict.modality, verdict.evidence) == ("mri", "!caption")
    assert verdict.confidence < 0.01
    assert judge({"caption": Vote("ct", 0.95)}, UNKNOWN).confidence == 0.0
