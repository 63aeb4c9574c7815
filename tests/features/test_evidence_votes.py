"""Votes of a corpus and of teachers: pooled, trusted as far as they were right, and compared two by two."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from corpus_samples import REALDATA, needs_realdata
from hypothesis import given
from hypothesis import strategies as st

from mmkd.curation.captions.clean import clean_caption
from mmkd.curation.modality.votes import NAMED, SOURCE_TRUST, Vote, agree, caption_vote
from mmkd.features.evidence.agreement import cohen_kappa, pairwise
from mmkd.features.evidence.corpus_votes import NAMES, CorpusVotes, halves, known_modality, votes_of
from mmkd.features.evidence.teacher_votes import BINS, above_chance, bin_of, pooled, trusted
from mmkd.modalities.taxonomy import canonical_modality, evaluated_modality


def test_teachers_votes_are_pooled_by_what_they_have_above_chance() -> None:
    votes = np.array([[[0.8, 0.2], [0.1, 0.9], [0.0, 1.0]], [[np.nan] * 2, [0.3, 0.7], [0.9, 0.1]], [[np.nan] * 2] * 3])
    support_TNM = votes.swapaxes(0, 1)
    weight_T = above_chance(np.array([0.9, 0.6, 0.5]), 2)
    np.testing.assert_allclose(weight_T, [0.8, 0.2, 0.0], atol=1e-12)
    modality_N, support_N = pooled(support_TNM, weight_T)
    assert modality_N.tolist() == [0, 1, -1]
    np.testing.assert_allclose(support_N, [0.8 * 0.8 + 0.2 * 0.1, 0.7, 0.0])
    with pytest.raises(ValueError, match=r"expected \(T, N, M\) and \(T,\)"):
        pooled(support_TNM, np.ones(2))


def test_trust_is_a_share_drawn_to_the_coarser_ones() -> None:
    rows_MS, right_MS = np.zeros((2, 2, BINS))
    rows_MS[0, 9], right_MS[0, 9] = 28, 28
    rows_MS[1, 3], right_MS[1, 3] = 10, 2
    found = trusted(rows_MS, right_MS, floor=0.5, min_rows=20)
    overall = 31 / 40
    first = (28 + 10 * overall) / 38
    assert math.isclose(found.trust_MS[0, 9], NAMED * (28 + 10 * first) / 38)
    assert math.isclose(found.trust_MS[0, 0], NAMED * first)  # a bin that was never seen has the modality's share
    assert math.isclose(found.trust_MS[1, 3], NAMED * (2 + 10 * (2 + 10 * overall) / 20) / 20)
    assert found.speaks_MS[0].all()
    assert not found.speaks_MS[1].any()  # ten rows tell too little


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_votes_are_never_better_than_the_captions_they_are_counted_against(rows: int, share: float) -> None:
    rows_MS = np.full((2, BINS), float(rows))
    found = trusted(rows_MS, np.round(share * rows_MS), floor=0.0, min_rows=1)
    assert ((found.trust_MS > 0) & (found.trust_MS <= NAMED)).all()
    below = trusted(rows_MS, np.round(share * rows_MS), floor=0.5, min_rows=1)
    assert (below.trust_MS[below.speaks_MS] >= 0.5).all()


def test_support_falls_into_equal_bins() -> None:
    assert bin_of(np.array([0.0, 0.1, 0.3 - 1e-9, 0.3, 0.99, 1.0])).tolist() == [0, 1, 3, 3, 9, 9]


def test_drawn_figures_are_known_as_other_unless_their_caption_names_a_modality_too() -> None:
    def known(caption: str, labels: str = "") -> str:
        row = {"caption": caption, "labels": labels, "modality": "", "modality_stated": "", "modality_evidence": ""}
        return known_modality(caption, votes_of(row))

    assert known("Axial CT of the chest") == "ct"
    assert known("Kaplan-Meier curves of both groups") == "other"
    assert known("Both groups", "bar plot; plots and charts") == "other"
    assert known("Histogram of densities in CT") == ""
    assert known("Axial CT of the chest", "bar plot") == ""
    assert known("A large effusion") == ""
    assert known("CT and MRI of the brain") == ""


def test_both_halves_know_every_modality_though_it_has_few_captions() -> None:
    """Four captions of endoscopy with 60, 15, 15 and 4 pictures, and a CT caption of which only one side can be."""
    group_N = np.repeat(np.array([8, 2, 4, 6, 9, 3], np.uint64), [60, 15, 15, 4, 5, 7])
    name_N = ["endoscopy"] * 94 + ["ct"] * 5 + [""] * 7
    known_N = np.array([NAMES.index(name) for name in name_N], np.int8)
    mixed_N = np.random.default_rng(0).permutation(len(group_N))
    half_N = np.empty(len(group_N), np.int8)
    half_N[mixed_N] = halves(CorpusVotes([None], np.zeros((106, 3), np.int16), known_N[mixed_N], group_N[mixed_N]))
    assert [set(half_N[group_N == group].tolist()) for group in (8, 2, 4, 6, 9)] == [{0}, {1}, {1}, {1}, {0}]
    assert len(set(half_N[group_N == 3].tolist())) == 1


def test_kappa_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(3)
    one = rng.integers(0, 4, 200)
    other = np.where(rng.random(200) < 0.6, one, rng.integers(0, 4, 200))
    pairs = [(str(a), str(b)) for a, b in zip(one, other, strict=True)]
    assert math.isclose(cohen_kappa(Counter(pairs)), cohen_kappa_score(one, other))
    assert cohen_kappa(Counter({("a", "a"): 5})) == 1.0
    with pytest.raises(ValueError, match="no pairs"):
        cohen_kappa(Counter())


def test_agreement_counts_where_both_speak() -> None:
    rows = [
        {"caption": "Chest CT", "labels": "computerized tomography; clinical imaging", "modality": "ct"},
        {"caption": "Brain MRI", "labels": "computerized tomography", "modality": "ct"},
        {"caption": "A mammogram", "labels": "x-ray radiography", "modality": "x-ray"},
        {"caption": "Nothing", "labels": "", "modality": "mri", "modality_evidence": "source"},
    ]
    votes = [votes_of({"modality_evidence": "label", "modality_stated": "", **row}) for row in rows]
    said = [{kind: vote.modality for kind, vote in of_row.items() if vote is not None} for of_row in votes]
    assert said[3] == {"source": "mri"}
    (found,) = pairwise(said)
    assert pairwise(said, [2, 1, 1, 5])[0].records == 4
    assert pairwise(said, [0, 3, 0, 0])[0].share == 0
    assert (found.one, found.other, found.records, found.share) == ("caption", "label", 3, 2 / 3)
    stated = {"caption": "", "labels": "", "modality": "other", "modality_evidence": "", "modality_stated": "CT scan"}
    assert votes_of(stated)["source"] == Vote("ct", SOURCE_TRUST)


@needs_realdata
def test_captions_agree_with_the_given_labels_of_the_real_pairs() -> None:
    rows = [json.loads(line) for line in (REALDATA / "pairs/pairs.jsonl").read_text().splitlines()]
    own = [row for row in rows if row["caption_kind"] == "source" and row["modality"] != "Other"]
    said = []
    for row in own:
        vote = caption_vote(clean_caption(row["caption"]))
        given = {"source": canonical_modality(row["modality"])}
        said.append(given if vote is None else given | {"caption": evaluated_modality(vote.modality)})
    (found,) = pairwise(said)
    assert found.records >= 0.6 * len(own), "captions that say something"
    assert found.share >= 0.9
    assert found.kappa >= 0.85
    listed = {
        row["id"]
        for row, of_row in zip(own, said, strict=True)
        if "caption" in of_row and not agree(of_row["source"], of_row["caption"])
    }
    assert len(listed) == round((1 - found.share) * found.records)
    assert "biomedica_0000" in listed, "a PET/CT, labelled as CT"
