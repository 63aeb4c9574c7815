"""Weightings by hand, and on a world of vectors: gates, posteriors of captions, a contrary and a useless teacher."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from feature_world import FeatureWorld, make_feature_world
from mmkd.distributed import World
from mmkd.errors import ConfigError, DataError
from mmkd.folders.stage import Stage, complete
from mmkd.reliability import streamed_ranks
from mmkd.reliability.settings import ReliabilitySettings
from mmkd.reliability.stage import measure_reliability
from mmkd.reliability.table import ReliabilityTable, load_reliability
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import WEIGHTINGS
from mmkd.training.targets.teacher_targets import TeacherTargets, teacher_targets
from stacks import stacked

SIZES = {"bone": 600, "retina": 500, "skin": 300}
EXPERTS = {"osteology": {"bone": "right"}, "retinology": {"retina": "right"}}
SKILLS = {"contrary": {"retina": "wrong"}, **EXPERTS, "useless": {}}
SOFT = np.array([[1.0, 0.3, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
AVAILABLE = np.array([[True, False, True], [False, True, True]])


def targets(world: FeatureWorld, by: str, folder: Path, **changes: object) -> TeacherTargets:
    settings = ReliabilitySettings.model_validate({"by": by, "method": "rank"})
    stage = Stage("reliability", folder / f"reliability-{by}", {})
    corpus, features = world.folder / "corpus", world.folder / "features"
    complete(stage, lambda partial: measure_reliability(settings, corpus, features, world.teachers, partial, 0))
    return of(world, load_reliability(stage.folder), **changes)


def of(world: FeatureWorld, reliability: ReliabilityTable, **changes: object) -> TeacherTargets:
    settings = DistillSettings.model_validate({"objective": "affinity", **changes})
    corpus = world.corpus
    return teacher_targets(settings, corpus, corpus.rows("train"), world.features, reliability, seed=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> FeatureWorld:
    return make_feature_world(tmp_path_factory.mktemp("world"), SKILLS, SIZES, labelled=True)


WEIGHTED = {
    "soft": SOFT.tolist(),
    "confidence": SOFT.tolist(),
    "dropping": SOFT.tolist(),
    "best": [[1, 0, 0], [0, 0, 0]],
    "trusted": [[1, 1, 0], [0, 0, 0]],
    "everyone": [[1, 1, 1], [1, 1, 1]],
    "uncertainty": [[1, 1, 1], [1, 1, 1]],
    "per_sample": [[1, 0, 1], [0, 1, 1]],
}


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weightings_by_hand(name: str) -> None:
    weight_NT = WEIGHTINGS[name].load()(SOFT, AVAILABLE)
    assert weight_NT.dtype == np.float32
    assert weight_NT.tolist() == WEIGHTED[name]


def test_best_teachers_that_are_equal_share_a_pair() -> None:
    equal = np.array([[1.0, 1.0, 0.5]], dtype=np.float32)
    assert WEIGHTINGS["best"].load()(equal, AVAILABLE[:1]).tolist() == [[1, 1, 0]]


@pytest.mark.parametrize("by", ["modality", "cluster"])
def test_the_posterior_of_a_caption_follows_the_experts(world: FeatureWorld, by: str, tmp_path: Path) -> None:
    found = targets(world, by, tmp_path, contrastive=0.5, caption_posterior=1.0)
    rows = world.corpus.rows("train")
    modality_N, kept_N = world.modality_N[rows], world.kept_N[rows]
    for name in ("bone", "retina"):
        caption_weight_N = found.caption_weight_N[modality_N == name]
        assert caption_weight_N.mean() == pytest.approx(0.5, abs=0.12)
        assert roc_auc_score(kept_N[modality_N == name], caption_weight_N) > 0.85
    assert found.caption_weight_N.dtype == np.float32
    assert (
        found.caption_weight_N[found.weight_NT.max(axis=1) == 0] == 1
    ).all()  # where nobody knows, captions are all there is


def test_the_weight_of_a_caption_is_a_power_of_the_posterior(world: FeatureWorld, tmp_path: Path) -> None:
    assert (targets(world, "modality", tmp_path, contrastive=0.5).caption_weight_N == 1).all()
    reliability = load_reliability(tmp_path / "reliability-modality")
    once, twice = (
        of(world, reliability, contrastive=0.5, caption_posterior=power).caption_weight_N for power in (1.0, 2.0)
    )
    np.testing.assert_allclose(twice, once**2, rtol=1e-6)


def test_pairs_without_a_teacher_learn_from_their_captions_though_nothing_else_does(
    world: FeatureWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = targets(world, "modality", tmp_path)
    modality_N = world.modality_N[world.corpus.rows("train")]
    skin_N = modality_N == "skin"  # in which nobody knows anything
    assert found.captions_alone
    np.testing.assert_array_equal(found.caption_weight_N, skin_N.astype(np.float32))
    told = " ".join(capsys.readouterr().out.split())
    count = f"{np.count_nonzero(skin_N):,}"
    assert f"no teacher passes the rank test on skin ({count} pairs)" in told
    assert f"no teacher has a weight on {count} of {len(skin_N):,} pairs, skin ({count} pairs): they learn from" in told
    reliability = load_reliability(tmp_path / "reliability-modality")
    for changes, words in (({"without_teacher": "nothing"}, "teach nothing"), ({"contrastive": 0.3}, "captions alone")):
        found = of(world, reliability, **changes)
        assert not found.captions_alone
        assert (found.caption_weight_N == 1).all()
        assert words in " ".join(capsys.readouterr().out.split())


def test_a_contrary_and_a_useless_teacher_change_nothing_for_the_others(world: FeatureWorld, tmp_path: Path) -> None:
    with_them = targets(world, "modality", tmp_path / "all", contrastive=0.5, caption_posterior=1.0)
    weight = dict(zip(SKILLS, with_them.weight_NT.T, strict=True))
    assert weight["contrary"].max() < 0.05  # below what a recipe reads
    assert weight["useless"].max() < 0.05
    experts = FeatureWorld(world.folder, world.modality_N, world.kept_N, list(EXPERTS))
    without = targets(experts, "modality", tmp_path / "experts", contrastive=0.5, caption_posterior=1.0)
    modality_N = world.modality_N[world.corpus.rows("train")]
    known_N = modality_N != "skin"
    np.testing.assert_allclose(with_them.weight_NT[known_N][:, 1:3], without.weight_NT[known_N], atol=0.02)
    assert np.corrcoef(with_them.caption_weight_N[known_N], without.caption_weight_N[known_N])[0, 1] > 0.98


def test_the_gate_leaves_every_pair_a_teacher(world: FeatureWorld, tmp_path: Path) -> None:
    strict = {"gate_top": 0.02}
    found = targets(world, "modality", tmp_path, objective="mmkd", weighting="per_sample", mmkd=strict)
    assert found.available_NT.any(axis=1).all()
    assert 0 < found.available_NT.mean() < 1
    assert np.array_equal(found.weight_NT, found.available_NT)
    passed_N = found.available_NT.sum(axis=1)
    assert {1, len(SKILLS)} <= set(passed_N.tolist())  # those that nobody passes have all


def test_targets_are_a_function_of_the_seed(world: FeatureWorld, tmp_path: Path) -> None:
    once = targets(world, "cluster", tmp_path, contrastive=0.5, caption_posterior=1.0)
    again = of(world, load_reliability(tmp_path / "reliability-cluster"), contrastive=0.5, caption_posterior=1.0)
    assert np.array_equal(once.caption_weight_N, again.caption_weight_N)
    batch = once.at(np.array([3, 1]), world.corpus.rows("train")[[3, 1]])
    assert batch.weight_BT.tolist() == once.weight_NT[[3, 1]].tolist()


def test_what_pairs_are_ranked_for_is_stored_once_and_read_by_all(
    world: FeatureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets(world, "modality", tmp_path)
    reliability, corpus = load_reliability(tmp_path / "reliability-modality"), world.corpus
    settings = DistillSettings(objective="mmkd", weighting="per_sample", caption_posterior=1.0)
    given = settings, corpus, corpus.rows("train"), world.features, reliability, 0
    here, first = teacher_targets(*given), teacher_targets(*given, tmp_path)
    monkeypatch.setattr("mmkd.training.targets.teacher_targets.gated", None)  # would fail if they were called
    monkeypatch.setattr("mmkd.training.targets.teacher_targets.caption_posteriors", None)
    for found in (first, teacher_targets(*given, tmp_path), teacher_targets(*given, tmp_path, World(rank=1))):
        assert np.array_equal(found.available_NT, here.available_NT)
        assert np.array_equal(found.caption_weight_N, here.caption_weight_N)
    assert 0 < here.caption_weight_N.mean() < 1
    with pytest.raises(TypeError):  # another seed has other rivals
        teacher_targets(*given[:5], 1, tmp_path)


def test_many_pairs_are_judged_in_blocks(world: FeatureWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = targets(world, "modality", tmp_path, contrastive=0.5, caption_posterior=1.0)
    monkeypatch.setattr(streamed_ranks, "MANY", 100)
    monkeypatch.setattr(streamed_ranks, "KEYS", 300)
    reliability = load_reliability(tmp_path / "reliability-modality")
    blocks = of(world, reliability, contrastive=0.5, caption_posterior=1.0)
    assert np.corrcoef(whole.caption_weight_N, blocks.caption_weight_N)[0, 1] > 0.97
    assert abs(whole.caption_weight_N.mean() - blocks.caption_weight_N.mean()) < 0.03


def test_the_reference_recipe_needs_a_teacher_for_each_pair(world: FeatureWorld, tmp_path: Path) -> None:
    targets(world, "modality", tmp_path)
    reliability = load_reliability(tmp_path / "reliability-modality")
    features = world.features
    for teacher in features:
        teacher.valid = lambda: np.arange(len(world.modality_N)) > 4  # type: ignore[method-assign]
    settings = DistillSettings(objective="mmkd")
    with pytest.raises(DataError, match="5 of 1260 pairs have features of no teacher"):
        teacher_targets(settings, world.corpus, world.corpus.rows("train"), features, reliability, 0)


SLOPES = {"osteology": {"bone": 20.0}, "retinology": {"retina": 15.0}, "useless": {"bone": 3.0}}


def slopes_of(world: FeatureWorld, by: str, folder: Path, **changes: object) -> TeacherTargets:
    targets(world, by, folder)
    reliability = load_reliability(folder / f"reliability-{by}")
    return of(world, stacked(reliability, SLOPES), objective="stacked", **changes)


def test_slopes_are_those_of_a_pair_s_group_and_codes_tell_groups_apart(world: FeatureWorld, tmp_path: Path) -> None:
    found = slopes_of(world, "modality", tmp_path, caption_evidence=False)
    modality_N = world.modality_N[world.corpus.rows("train")]
    column = {name: k for k, name in enumerate(SKILLS)}
    assert found.slope_NT is not None
    assert found.group_N is not None
    for modality in SIZES:
        expected = [SLOPES.get(name, {}).get(modality, 0.0) for name in column]
        assert (found.slope_NT[modality_N == modality] == expected).all()
        assert len(np.unique(found.group_N[modality_N == modality])) == 1
    assert len(np.unique(found.group_N)) == len(SIZES)
    rows = world.corpus.rows("train")
    batch = found.at(np.array([3, 1]), rows[[3, 1]])
    assert batch.slope_BT is not None
    assert batch.slope_BT.tolist() == found.slope_NT[[3, 1]].tolist()
    assert batch.group_B is not None
    assert batch.group_B.tolist() == found.group_N[[3, 1]].tolist()
    assert targets(world, "modality", tmp_path).slope_NT is None  # of a recipe that does not ask
    assert found.given_N2 is None
    assert batch.given_B2 is None


def test_captions_are_evidence_by_the_share_of_wrong_ones_of_their_group(world: FeatureWorld, tmp_path: Path) -> None:
    found = slopes_of(world, "modality", tmp_path)
    rows = world.corpus.rows("train")
    assert found.given_N2 is not None
    assert found.given_N2.shape == (len(rows), 2)
    known = stacked(load_reliability(tmp_path / "reliability-modality"), SLOPES)
    wrong_N = known.wrong_captions(world.modality_N[rows])
    np.testing.assert_allclose(found.given_N2[:, 0], np.maximum(wrong_N, 0.02))
    assert (found.given_N2[:, 1] >= (1 - found.given_N2[:, 0]) * (1 - 1e-6)).all()  # no meaning is commoner than all
    given_B2 = found.at(np.array([3, 1]), rows[[3, 1]]).given_B2
    assert given_B2 is not None
    assert given_B2.tolist() == found.given_N2[[3, 1]].tolist()


def test_a_teacher_without_features_of_a_pair_has_no_slope_there(world: FeatureWorld, tmp_path: Path) -> None:
    found = slopes_of(world, "modality", tmp_path)
    rows = world.corpus.rows("train")
    taken = found.features[1].take

    def failing(row_B: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, text, valid = taken(row_B)
        return image, text, valid & (np.asarray(row_B) != rows[7])

    found.features[1].take = failing  # type: ignore[method-assign, assignment]
    bone_N = np.flatnonzero(world.modality_N[rows] == "bone")
    position = np.array([7, bone_N[bone_N > 7][0]])
    slope_BT = found.at(position, rows[position]).slope_BT
    assert slope_BT is not None
    assert slope_BT[0, 1] == 0.0
    assert slope_BT[1, 1] == 20.0


def test_pairs_without_a_slope_learn_from_their_captions_alone(world: FeatureWorld, tmp_path: Path) -> None:
    found = slopes_of(world, "modality", tmp_path)
    skin_N = world.modality_N[world.corpus.rows("train")] == "skin"
    assert found.captions_alone
    np.testing.assert_array_equal(found.caption_weight_N, skin_N.astype(np.float32))
    beside = slopes_of(world, "modality", tmp_path / "beside", terms={"affinity": 1.0}, weighting="everyone")
    assert not beside.captions_alone  # the term beside it has a teacher for each pair


def test_a_reliability_without_slopes_is_refused_with_the_cure(world: FeatureWorld, tmp_path: Path) -> None:
    targets(world, "modality", tmp_path)
    with pytest.raises(ConfigError, match=r'\[reliability\] method = "stacking" and run'):
        of(world, load_reliability(tmp_path / "reliability-modality"), objective="stacked")
    of(world, load_reliability(tmp_path / "reliability-modality"), objective="contrastive", terms={"stacked": 1.0})
