"""Metrics under weights against scikit-learn and NumPy on the resamples those weights stand for."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score
from weightings import counts, once, resamples

from mmkd.statistics import metrics
from mmkd.statistics.metrics import (
    Array,
    accuracy,
    balanced_accuracy,
    f1,
    macro,
    macro_f1,
    median,
    one_vs_rest,
    recall_at,
    weighted_mean,
    weighted_sums,
)
from mmkd.statistics.ranking import auc, average_precision

World = tuple[Array, Array, Array]


@pytest.fixture
def world() -> World:
    """Guesses (N,), labels (N,), counts (B, N) that leave no class out."""
    rng = np.random.default_rng(3)
    label_N = np.concatenate([np.arange(3), rng.integers(0, 3, 37)])
    guess_N = np.where(rng.random(40) < 0.5, label_N, rng.integers(0, 3, 40))
    return guess_N, label_N, counts(40, 25, seed=4, kept=3)


def test_accuracies_equal_scikit_learn_on_each_resample(world: World) -> None:
    guess_N, label_N, count_BN = world
    drawn = resamples(count_BN)
    np.testing.assert_allclose(
        accuracy(guess_N == label_N, count_BN), [accuracy_score(label_N[i], guess_N[i]) for i in drawn], rtol=1e-12
    )
    np.testing.assert_allclose(
        balanced_accuracy(guess_N == label_N, label_N, count_BN),
        [balanced_accuracy_score(label_N[i], guess_N[i]) for i in drawn],
        rtol=1e-12,
    )


def test_f1_equals_scikit_learn_on_each_resample(world: World) -> None:
    guess_N, label_N, count_BN = world
    drawn = resamples(count_BN)
    np.testing.assert_allclose(
        f1(guess_N == 1, label_N == 1, count_BN),
        [f1_score(label_N[i] == 1, guess_N[i] == 1) for i in drawn],
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        macro(f1, one_vs_rest(guess_N, 3), one_vs_rest(label_N, 3), count_BN),
        [f1_score(label_N[i], guess_N[i], average="macro") for i in drawn],
        rtol=1e-12,
    )


def test_real_weights_equal_scikit_learns_sample_weight(world: World) -> None:
    guess_N, label_N, _ = world
    weight_BN = np.random.default_rng(5).random((4, 40)) * (np.arange(40) % 5 > 0)
    correct_N = guess_N == label_N
    for b, weight_N in enumerate(weight_BN):
        known = {"sample_weight": weight_N}
        assert accuracy(correct_N, weight_BN)[b] == pytest.approx(accuracy_score(label_N, guess_N, **known), rel=1e-12)
        assert balanced_accuracy(correct_N, label_N, weight_BN)[b] == pytest.approx(
            recall_score(label_N, guess_N, average="macro", **known), rel=1e-12
        )
        assert macro(f1, one_vs_rest(guess_N, 3), one_vs_rest(label_N, 3), weight_BN)[b] == pytest.approx(
            f1_score(label_N, guess_N, average="macro", **known), rel=1e-12
        )


def test_f1_by_hand() -> None:
    guess_N = np.array([True, True, False, False, True])
    positive_N = np.array([True, False, True, False, True])
    assert f1(guess_N, positive_N, once(5))[0] == pytest.approx(2 * 2 / (3 + 3))
    assert f1(np.zeros(5, bool), positive_N, once(5))[0] == 0


def test_several_labels_a_sample_are_averaged_over_the_labels(world: World) -> None:
    rng = np.random.default_rng(6)
    guess_NC, positive_NC = rng.random((2, 40, 4)) < 0.4
    positive_NC[:3] = True
    found = macro(f1, guess_NC, positive_NC, world[2])
    expected = [f1_score(positive_NC[i], guess_NC[i], average="macro") for i in resamples(world[2])]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_replicate_without_a_class_is_nan_and_the_others_are_not() -> None:
    label_N = np.array([0, 0, 1, 1])
    correct_N = np.array([True, True, False, True])
    count_BN = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 0, 0]], np.uint16)
    np.testing.assert_array_equal(balanced_accuracy(correct_N, label_N, count_BN), [0.75, np.nan, np.nan])
    np.testing.assert_array_equal(accuracy(correct_N, count_BN), [0.75, 1.0, np.nan])
    np.testing.assert_array_equal(f1(correct_N, label_N == 1, count_BN), [2 / 5, np.nan, np.nan])
    np.testing.assert_array_equal(median(np.arange(4.0), count_BN), [1.5, 0.5, np.nan])


def test_balanced_accuracy_weighs_classes_equally() -> None:
    label_N = np.array([0, 0, 0, 1])
    assert balanced_accuracy(np.array([True, True, True, False]), label_N, once(4))[0] == 0.5


@pytest.mark.parametrize(("k", "share"), [(1, 0.25), (2, 0.5), (5, 0.75), (10, 1.0)])
def test_recall_counts_ranks_up_to_k(k: int, share: float) -> None:
    assert recall_at(k, np.array([1.0, 1.5, 5.0, 7.0]), once(4))[0] == share


def test_recall_and_median_equal_numpy_on_each_resample(world: World) -> None:
    rank_N = np.random.default_rng(0).integers(1, 9, 40) / 2
    drawn = resamples(world[2])
    np.testing.assert_array_equal(median(rank_N, world[2]), [np.median(rank_N[i]) for i in drawn])
    np.testing.assert_allclose(recall_at(2, rank_N, world[2]), [np.mean(rank_N[i] <= 2) for i in drawn], rtol=1e-12)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(1, 40))
def test_the_size_of_the_chunks_changes_nothing(samples: int, replicates: int, cells: int) -> None:
    count_BN = counts(samples, replicates, seed=samples)
    value_NK = np.random.default_rng(1).integers(0, 50, (samples, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "CHUNK_CELLS", cells)
        sums = weighted_sums(count_BN, value_NK)
        middle = median(value_NK[:, 0], count_BN)
    np.testing.assert_array_equal(sums, count_BN.astype(int) @ value_NK)
    np.testing.assert_array_equal(middle, [np.median(value_NK[i, 0]) for i in resamples(count_BN)])


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_scale_of_the_weights_changes_nothing(scale: float, world: World) -> None:
    guess_N, label_N, count_BN = world
    for metric in (f1, auc, average_precision):
        value_N = guess_N == 1 if metric is f1 else guess_N
        plain = metric(value_N, label_N == 1, count_BN)
        np.testing.assert_allclose(metric(value_N, label_N == 1, count_BN * scale), plain, rtol=1e-12)
    np.testing.assert_allclose(
        accuracy(guess_N == label_N, count_BN * scale), accuracy(guess_N == label_N, count_BN), rtol=1e-12
    )


def test_sums_do_not_wrap_around_in_small_types() -> None:
    count_BN = np.full((1, 3), 65_535, np.uint16)
    assert weighted_sums(count_BN, np.ones((3, 1), np.uint8))[0, 0] == 3 * 65_535
    assert weighted_mean(np.array([255, 255, 255], np.uint8), count_BN)[0] == 255


TRUE_2 = np.array([True, False])


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: accuracy(np.array([1, 0]), once(2)), "correct: found int64, expected booleans"),
        (lambda: accuracy(TRUE_2, once(3)), r"weights of shape \(1, 3\) for 2 samples"),
        (lambda: accuracy(TRUE_2, np.ones(2)), r"weights of shape \(2,\) for 2 samples"),
        (lambda: accuracy(TRUE_2[:0], once(0)), "for 0 samples"),
        (lambda: accuracy(TRUE_2, np.array([[1, -1]])), "negative or not finite"),
        (lambda: accuracy(TRUE_2, np.array([[1, np.nan]])), "negative or not finite"),
        (lambda: accuracy(TRUE_2, np.array([["1", "2"]])), "weights of <U1, expected numbers"),
        (lambda: median(np.array([1.0, 2.0]), np.ones((1, 2))), "weights of float64, expected whole numbers"),
        (lambda: recall_at(1, np.array([1.0, np.nan]), once(2)), "rank: 1 of 2 are not finite"),
        (lambda: one_vs_rest(np.array([0, 3, -1]), 3), r"labels \[-1, 3\] among the samples, expected 0..2"),
        (lambda: macro(f1, TRUE_2[:, None], np.ones((2, 2), bool), once(2)), r"shapes \(2, 1\) and \(2, 2\)"),
        (lambda: f1(TRUE_2, np.array([0, 1]), once(2)), "positive: found int64"),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], Array], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def test_macro_f1_of_labels_is_that_of_their_indicators() -> None:
    rng = np.random.default_rng(8)
    label_N, guess_N = rng.integers(0, 6, size=(2, 40))
    count_BN = rng.multinomial(40, np.full(40, 1 / 40), size=30).astype(np.uint16)
    expected = macro(f1, one_vs_rest(guess_N, 7), one_vs_rest(label_N, 7), count_BN)
    np.testing.assert_allclose(macro_f1(guess_N, label_N, 7, count_BN), expected)  # class 6 has no positive: NaN
    expected = macro(f1, one_vs_rest(guess_N, 6), one_vs_rest(label_N, 6), count_BN)
    np.testing.assert_allclose(macro_f1(guess_N, label_N, 6, count_BN), expected, rtol=1e-12)
