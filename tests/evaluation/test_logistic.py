"""Logistic heads against scikit-learn, and the rules by which the penalty is chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmkd.errors import DataError
from mmkd.evaluation.heads import logistic
from mmkd.evaluation.heads.folds import stratified_group_folds
from mmkd.evaluation.heads.logistic import LOWEST, choose_and_fit, fit, fit_path
from mmkd.statistics.bootstrap import group_numbers
from mmkd.statistics.metrics import Array, one_vs_rest

PENALTIES = [0.01, 0.1, 1.0, 10.0]


def blobs(samples: int, classes: int, seed: int, dim: int = 6, noise: float = 1.0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    centre = np.random.default_rng(classes).normal(size=(classes, dim))
    label = np.arange(samples) % classes
    return centre[label] + noise * rng.normal(size=(samples, dim)), label


def alone(samples: int) -> list[str]:
    return [""] * samples


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("penalty", [0.05, 3.0])
def test_a_fixed_penalty_equals_scikit_learn(classes: int, penalty: float) -> None:
    value, label = blobs(80, classes, 0)
    fresh, _ = blobs(30, classes, 1)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000, tol=1e-8)).fit(value, label)
    mine = fit(value, label, penalty, classes, tolerance=1e-8).scores(fresh)
    np.testing.assert_allclose(mine, oracle.predict_log_proba(fresh), atol=2e-5)
    assert mine.dtype == np.float32


def test_several_labels_are_one_regression_each() -> None:
    value, label = blobs(90, 3, 0)
    member = np.stack([label == 0, label != 1, value[:, 0] > 0], axis=1)
    mine = fit(value, member, 1.0, 3, tolerance=1e-8).scores(value)
    for c in range(3):
        oracle = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8)).fit(value, member[:, c])
        np.testing.assert_allclose(mine[:, c], oracle.predict_log_proba(value)[:, 1], atol=2e-5)


def test_the_warm_started_path_ends_where_cold_starts_end() -> None:
    value, label = blobs(120, 3, 2)
    for warm in fit_path(value, label, PENALTIES, 3, tolerance=1e-7):
        cold = fit(value, label, warm.penalty, 3, tolerance=1e-7)
        np.testing.assert_allclose(warm.scores(value), cold.scores(value), rtol=1e-4, atol=1e-4)


def test_scores_do_not_depend_on_the_scale_of_a_column() -> None:
    value, label = blobs(60, 3, 3)
    stretched = value * [1, 5, 0.2, 1, 1, 30] + 7
    np.testing.assert_allclose(
        fit(value, label, 1.0, 3, 1e-8).scores(value), fit(stretched, label, 1.0, 3, 1e-8).scores(stretched), atol=1e-4
    )


def test_classes_without_training_samples_get_the_lowest_score() -> None:
    value, label = blobs(40, 2, 4)
    model = fit(value, label * 2, 1.0, 5)
    scores = model.scores(value)
    assert model.seen_C.tolist() == [True, False, True, False, False]
    assert (scores[:, [1, 3, 4]] == LOWEST).all()
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(np.exp(scores[:, [0, 2]].astype(float)).sum(axis=1), 1, rtol=1e-5)  # float32 scores


def test_one_class_alone_is_certain_and_a_label_that_all_have_is_nearly_so() -> None:
    value = np.arange(6.0).reshape(3, 2)
    assert fit(value, np.array([1, 1, 1]), 1.0, 3).scores(value).tolist() == [[LOWEST, 0.0, LOWEST]] * 3
    both = fit(value, np.array([[True, False]] * 3), 1.0, 2).scores(value)
    np.testing.assert_allclose(np.exp(both[:, 0]), 4 / 5, rtol=1e-6)  # three of three: (3 + 1) / (3 + 2)
    assert (both[:, 1] == LOWEST).all()


def test_the_val_split_decides_where_there_is_one() -> None:
    value, label = blobs(60, 3, 5, noise=4.0)
    val = blobs(300, 3, 6, noise=4.0)
    losses = []
    for penalty in PENALTIES:
        scores = fit(value, label, penalty, 3, 1e-6).scores(val[0])
        losses.append(-scores[np.arange(300), val[1]].mean())
    chosen = choose_and_fit(
        value, label, alone(60), PENALTIES, 3, np.random.default_rng(0), classes=3, val=val, tolerance=1e-6
    )
    assert chosen.penalty == PENALTIES[int(np.argmin(losses))]
    assert (chosen.chosen_by, chosen.fits, chosen.unconverged) == ("val split", 4, 0)
    np.testing.assert_allclose(chosen.scores(value), fit(value, label, chosen.penalty, 3).scores(value), atol=1e-2)


def test_a_val_split_of_unknown_classes_decides_nothing() -> None:
    value, label = blobs(60, 2, 5)
    unknown = (value[:5], np.full(5, 2))
    chosen = choose_and_fit(value, label, alone(60), PENALTIES, 3, np.random.default_rng(0), classes=3, val=unknown)
    assert chosen.chosen_by == "3 inner folds by group"


def test_inner_folds_choose_by_groups() -> None:
    # every group has a position of its own; labels are at random: by group nothing can be foretold
    rng = np.random.default_rng(7)
    centre, truth = rng.normal(size=(20, 25)), rng.integers(0, 2, 20)
    group = np.repeat(np.arange(20), 10)
    value = centre[group] + 0.01 * rng.normal(size=(200, 25))
    named = [f"patient {g}" for g in group]
    by_group = choose_and_fit(value, truth[group], named, PENALTIES, 4, np.random.default_rng(0), classes=2)
    leaking = choose_and_fit(value, truth[group], alone(200), PENALTIES, 4, np.random.default_rng(0), classes=2)
    assert by_group.penalty == 0.01
    assert leaking.penalty == 10.0
    assert by_group.fits == 17


def test_too_few_groups_leave_the_middle_penalty() -> None:
    value, label = blobs(20, 2, 8)
    chosen = choose_and_fit(
        value, label, [f"{one}" for one in label], [0.1, 1.0, 10.0], 3, np.random.default_rng(0), classes=2
    )
    assert chosen.penalty == 1.0
    assert chosen.chosen_by.startswith("the middle one")


def test_one_penalty_needs_no_choice() -> None:
    value, label = blobs(20, 2, 8)
    chosen = choose_and_fit(value, label, alone(20), [0.3], 3, np.random.default_rng(0), classes=2)
    assert (chosen.penalty, chosen.chosen_by, chosen.fits) == (0.3, "given", 1)


def test_fits_that_end_early_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "MOST_ITERATIONS", 1)
    value, label = blobs(60, 3, 9)
    chosen = choose_and_fit(value, label, alone(60), PENALTIES, 3, np.random.default_rng(0), classes=3)
    assert (chosen.fits, chosen.unconverged) == (13, 13)


def test_the_same_generator_gives_the_same_fit() -> None:
    value, label = blobs(60, 3, 10)
    one, two = (
        choose_and_fit(value, label, alone(60), PENALTIES, 3, np.random.default_rng(5), classes=3) for _ in range(2)
    )
    np.testing.assert_array_equal(one.weight_CD, two.weight_CD)


def test_what_cannot_be_fitted_is_refused() -> None:
    value, label = blobs(6, 2, 0)
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="train split"):
        choose_and_fit(value[:0], label[:0], [], PENALTIES, 3, rng, classes=2)
    with pytest.raises(DataError, match="any class"):
        choose_and_fit(value, np.zeros((6, 2), bool), alone(6), PENALTIES, 3, rng, classes=2)
    with pytest.raises(ValueError, match="5 groups for 6 samples"):
        choose_and_fit(value, label, alone(5), PENALTIES, 3, rng, classes=2)
    with pytest.raises(ValueError, match="booleans"):
        choose_and_fit(value, np.zeros((6, 3), bool), alone(6), PENALTIES, 3, rng, classes=2)
    with pytest.raises(ValueError, match="above zero"):
        choose_and_fit(value, label, alone(6), [0.0, 1.0], 3, rng, classes=2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60), st.integers(2, 5))
def test_folds_never_cut_a_group(rows: list[tuple[int, int]], folds: int) -> None:
    label, group = (np.array(column) for column in zip(*rows, strict=True))
    fold = stratified_group_folds(one_vs_rest(label, 4), group, folds, np.random.default_rng(0))
    assert set(fold.tolist()) <= set(range(folds))
    assert all(len(set(fold[group == one].tolist())) == 1 for one in group)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.integers(2, 4), st.integers(0, 9))
def test_folds_of_single_samples_have_each_class_in_equal_parts(labels: list[int], folds: int, seed: int) -> None:
    label = np.array(labels)
    fold = stratified_group_folds(one_vs_rest(label, 4), np.arange(len(label)), folds, np.random.default_rng(seed))
    for one in np.unique(label):
        counts = np.bincount(fold[label == one], minlength=folds)
        assert counts.max() - counts.min() <= 1


def test_samples_without_a_group_are_groups_of_their_own() -> None:
    assert group_numbers(["", "a", "", "a", "0"]).tolist() == [0, 1, 2, 1, 3]
