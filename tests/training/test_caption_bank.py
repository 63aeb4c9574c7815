"""The bank of captions for pictures without one: what is drawn, what is left out, and that pairs keep their own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from feature_world import FeatureWorld, make_feature_world
from mmkd.folders.stage import Stage, complete
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.training.data.caption_bank import CaptionBank, caption_bank, trained_rows
from mmkd.training.losses.contrastive import info_nce, sigmoid_pairs
from mmkd.training.losses.stacked import caption_evidence
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.targets.teacher_targets import TeacherTargets, teacher_targets
from objective_views import batch, build, view_of
from stacks import stacked
from tolerance import assert_rounding

SIZES = {"bone": 300, "retina": 200, "skin": 100}
SLOPES = {"osteology": {"bone": 30.0}, "retinology": {"retina": 20.0}}  # nobody knows skin
SKILLS = {"osteology": {"bone": "right"}, "retinology": {"retina": "right"}}
STEP = 64


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, SIZES, labelled=True, captionless=0.7)


@pytest.fixture(scope="module")
def reliability(world: FeatureWorld, tmp_path_factory: pytest.TempPathFactory) -> ReliabilityTable:
    stage = Stage("reliability", tmp_path_factory.mktemp("measured") / "reliability", {})
    settings, corpus = ReliabilitySettings(method="rank"), world.folder / "corpus"
    features = world.folder / "features"
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, world.teachers, partial, 0))
    return stacked(load_reliability(stage.folder), SLOPES)


def chosen(world: FeatureWorld, reliability: ReliabilityTable) -> tuple[np.ndarray, CaptionBank]:
    rows, corpus = trained_rows(DistillSettings(), world.corpus, reliability), world.corpus
    code_N = np.unique(np.array(corpus.column("caption"))[rows], return_inverse=True)[1]
    bank = caption_bank(corpus.captioned[rows], code_N, corpus.modalities[rows], seed=3)
    assert bank is not None
    return rows, bank


def test_pictures_have_captions_of_their_group_and_pairs_their_own(
    world: FeatureWorld, reliability: ReliabilityTable
) -> None:
    rows, bank = chosen(world, reliability)
    caption_N, modality_N = np.array(world.corpus.column("caption"))[rows], world.modality_N[rows]
    drawn: dict[str, set[str]] = {name: set() for name in SIZES}
    for step in range(60):
        position_S = np.random.default_rng(step).permutation(len(rows))[:STEP]
        told_S = bank.at(step, position_S)
        own_S = bank.captioned_N[position_S]
        assert (told_S[own_S] == position_S[own_S]).all()
        assert (caption_N[told_S] != "").all()
        assert (modality_N[told_S] == modality_N[position_S]).all()
        for place in told_S[~own_S]:
            drawn[modality_N[place]].add(caption_N[place])
    for name in SLOPES:
        assert drawn[next(iter(SLOPES[name]))] == set(caption_N[modality_N == next(iter(SLOPES[name]))]) - {""}
    assert not drawn["skin"]


def test_each_caption_is_in_the_bank_once_and_equally_likely(
    world: FeatureWorld, reliability: ReliabilityTable
) -> None:
    rows, bank = chosen(world, reliability)
    caption_N = np.array(world.corpus.column("caption"))[rows]
    assert len(set(caption_N[bank.place_M])) == len(bank.place_M) == len(set(caption_N) - {""})
    untold = np.flatnonzero(~bank.captioned_N & (world.modality_N[rows] == "bone"))
    place, count = np.unique(np.concatenate([bank.at(step, untold) for step in range(100)]), return_counts=True)
    expected = 100 * len(untold) / len(place)
    assert ((count - expected) ** 2 / expected).sum() < 20  # chi-squared with 5 degrees of freedom: one in 1,000


def test_the_draw_is_a_function_of_the_seed_and_the_step(world: FeatureWorld, reliability: ReliabilityTable) -> None:
    bank = chosen(world, reliability)[1]
    position_S = np.arange(STEP)
    assert np.array_equal(bank.at(5, position_S), chosen(world, reliability)[1].at(5, position_S))
    assert not np.array_equal(bank.at(5, position_S), bank.at(6, position_S))
    assert not np.array_equal(bank.at(5, position_S), replace(bank, seed=4).at(5, position_S))


def test_what_nobody_could_judge_is_left_out_and_said(
    world: FeatureWorld, reliability: ReliabilityTable, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = world.corpus
    train, skin_N = corpus.rows("train"), world.modality_N == "skin"
    rows, _ = chosen(world, reliability)
    assert set(train) - set(rows) == set(train[skin_N[train] & ~corpus.captioned[train]])
    said = " ".join(capsys.readouterr().out.split())
    untold = np.count_nonzero(~corpus.captioned[train])
    assert f"{untold:,} of {len(train):,} pictures have no caption: at each step each gets one of its group" in said
    assert f"but {len(train) - len(rows):,} of them, of groups without captions or without a teacher" in said
    for changes, why in (
        ({"captionless": "nothing"}, 'captionless = "nothing"'),
        ({"objective": "affinity"}, "objective 'affinity'"),
        ({"objective": "mmkd"}, "objective 'mmkd'"),
        ({"objective": "contrastive"}, "objective 'contrastive'"),
        ({"terms": {"affinity": 0.5}}, "the term 'affinity' learns from pairs alone"),
        (
            {"terms": {"affinity": 0.5, "patches": 0.2}},
            "the term 'affinity' and the term 'patches' learn from pairs alone",
        ),
        ({"contrastive": 1.0}, "a contrastive share of 1 learns from pairs alone"),
    ):
        left = trained_rows(DistillSettings.model_validate(changes), corpus, reliability)
        assert np.array_equal(left, corpus.pairs("train"))
        assert f"have no caption and are left out: {why}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"terms": {"affinity": 0.5}}, "the term 'affinity'"),
        ({"terms": {"patches": 0.2}}, "the term 'patches'"),
        ({"contrastive": 1.0}, "a contrastive share of 1"),
        ({"objective": "affinity", "terms": {"stacked": 0.5}}, "objective 'affinity'"),
        ({"objective": "mmkd"}, "objective 'mmkd'"),
    ],
)
def test_a_bank_that_nothing_would_read_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=f'captionless is "bank", but {named} .*; take captionless out'):
        DistillSettings.model_validate({**changes, "captionless": "bank"})
    assert not DistillSettings.model_validate(changes).draws_captions


def test_a_bank_goes_with_the_stack_and_a_contrastive_share() -> None:
    for changes in ({}, {"contrastive": 0.3}, {"terms": {"affinity": 0.0}}):
        assert DistillSettings.model_validate({**changes, "captionless": "bank"}).draws_captions


def test_settings_that_do_not_name_pictures_without_captions_are_kept_as_before() -> None:
    """So the folder of a student in a pool has the name that it had."""
    assert not {"captionless", "self_teacher"} & set(DistillSettings().trained_with)
    assert DistillSettings(captionless="bank").trained_with["captionless"] == "bank"
    assert DistillSettings(captionless="nothing").trained_with["captionless"] == "nothing"


def test_a_corpus_in_which_all_have_captions_has_no_bank(tmp_path: Path, reliability: ReliabilityTable) -> None:
    told = make_feature_world(tmp_path, SKILLS, SIZES, labelled=True).corpus
    rows = trained_rows(DistillSettings(), told, reliability)
    assert caption_bank(told.captioned[rows], np.arange(len(rows)), told.modalities[rows], seed=3) is None
    assert np.array_equal(rows, told.rows("train"))


def targets_of(
    world: FeatureWorld, reliability: ReliabilityTable, rows: np.ndarray, **changes: object
) -> TeacherTargets:
    settings = DistillSettings.model_validate(changes)
    return teacher_targets(settings, world.corpus, rows, world.features, reliability, seed=0)


def test_pairs_have_the_targets_that_they_have_without_the_pictures(
    world: FeatureWorld, reliability: ReliabilityTable
) -> None:
    rows, bank = chosen(world, reliability)
    changes = {"contrastive": 0.2, "caption_posterior": 1.0, "min_weight": 0.0}
    among = targets_of(world, reliability, rows, **changes)
    alone = targets_of(world, reliability, world.corpus.pairs("train"), **changes)
    told_N = bank.captioned_N
    for name in ("weight_NT", "available_NT", "caption_weight_N", "slope_NT", "group_N", "given_N2"):
        np.testing.assert_array_equal(getattr(among, name)[told_N], getattr(alone, name), name)
    assert (among.caption_weight_N[~told_N] == 0).all()
    assert among.given_N2 is not None
    assert (among.given_N2[~told_N] == [1, 0]).all()
    assert among.slope_NT is not None
    assert among.slope_NT[~told_N].any(axis=1).all()


def test_images_are_a_picture_s_own_and_texts_those_of_the_pair_drawn(
    world: FeatureWorld, reliability: ReliabilityTable
) -> None:
    rows, bank = chosen(world, reliability)
    targets = targets_of(world, reliability, rows)
    position = np.flatnonzero(~bank.captioned_N)[:8]
    drawn = bank.at(0, position)
    found = targets.at(position, rows[position], rows[drawn])
    for t, teacher in enumerate(world.features):
        assert torch.equal(found.image[t], torch.from_numpy(teacher.take(rows[position])[0].astype(np.float32)))
        assert torch.equal(found.text[t], torch.from_numpy(teacher.take(rows[drawn])[1].astype(np.float32)))
    assert found.slope_BT is not None
    assert (found.slope_BT > 0).any(dim=1).all()
    alone = targets.at(position, rows[position])  # its own text is missing
    assert alone.slope_BT is not None
    assert not alone.slope_BT.any()


def test_a_drawn_caption_is_no_evidence() -> None:
    alike_BK = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    given_K2 = torch.tensor([[1.0, 0.0]] * 6)
    assert torch.equal(caption_evidence(alike_BK, given_K2[:4, None]), torch.zeros(4, 6))
    assert torch.equal(caption_evidence(alike_BK, given_K2), torch.zeros(4, 6))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("pairwise", ["softmax", "sigmoid"])
def test_the_contrastive_share_is_that_of_the_pairs_alone(pairwise: str) -> None:
    of = batch()
    captioned_K = torch.arange(len(of.caption_K)) % 3 != 0
    weight_K = of.caption_weight_K * captioned_K
    objective = build(DistillSettings.model_validate({"objective": "contrastive", "pairwise": pairwise}), of)
    among = objective(replace(view_of(of), captioned_K=captioned_K, caption_weight_B=weight_K))["contrastive"]
    pairs = replace(
        of,
        image_KD=of.image_KD[captioned_K],
        text_KD=of.text_KD[captioned_K],
        teachers=of.teachers.map(lambda one: one[captioned_K]),
        caption_K=of.caption_K[captioned_K],
        caption_weight_K=of.caption_weight_K[captioned_K],
    )
    alone = objective(view_of(pairs))["contrastive"]
    assert_rounding(among * len(captioned_K), alone * int(captioned_K.sum()))  # a mean over all pairs of the batch


@pytest.mark.usefixtures("float64")
def test_keys_that_take_no_part_change_no_pairwise_loss() -> None:
    of, key_K = batch(), torch.arange(12) < 8
    own_BK = torch.eye(12, dtype=torch.bool)
    sides = of.image_KD[:8], of.text_KD
    alone = of.image_KD[:8], of.text_KD[:8]
    masked = info_nce(*sides, 9.0, own_BK[:8], key_K)
    assert_rounding(masked.sum(), info_nce(*alone, 9.0, own_BK[:8, :8]).sum())
    masked = sigmoid_pairs(*sides, 9.0, -2.0, own_BK[:8], key_K)
    assert_rounding(masked.sum(), sigmoid_pairs(*alone, 9.0, -2.0, own_BK[:8, :8]).sum())
