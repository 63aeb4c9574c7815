"""Metrics under weights against scikit-learn and NumPy on the resamples those weights stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from mmkd.evaluation.statistics.metrics import (
    Array,
    accuracy,
    auc,
    balanced_accuracy,
    macro_auc,
    median,
    recall_at,
)

ONCE_4 = np.ones((1, 4), np.uint16)


def resamples(count_BN: Array) -> list[Array]:
    return [np.repeat(np.arange(len(counts)), counts) for counts in count_BN]


@pytest.fixture
def world() -> tuple[Array, Array, Array]:
    """Scores with ties (N, C), labels (N,), counts (B, N) that leave no class out."""
    rng = np.random.default_rng(3)
    score_NC = rng.integers(0, 6, (40, 3)) / 5
    label_N = np.concatenate([np.arange(3), rng.integers(0, 3, 37)])
    count_BN = rng.multinomial(40, np.full(40, 1 / 40), size=25)
    count_BN[:, :3] += 1
    return score_NC, label_N, count_BN.astype(np.uint16)


def test_accuracies_equal_scikit_learn_on_each_resample(world: tuple[Array, Array, Array]) -> None:
    score_NC, label_N, count_BN = world
    guess_N = score_NC.argmax(axis=1)
    drawn = resamples(count_BN)
    np.testing.assert_allclose(
        accuracy(guess_N == label_N, count_BN), [accuracy_score(label_N[i], guess_N[i]) for i in drawn]
    )
    np.testing.assert_allclose(
        balanced_accuracy(guess_N == label_N, label_N, count_BN),
        [balanced_accuracy_score(label_N[i], guess_N[i]) for i in drawn],
    )


def test_macro_auc_equals_scikit_learn_on_each_resample(world: tuple[Array, Array, Array]) -> None:
    score_NC, label_N, count_BN = world
    expected = [
        np.mean([roc_auc_score(label_N[i] == c, score_NC[i, c]) for c in range(3)]) for i in resamples(count_BN)
    ]
    np.testing.assert_allclose(macro_auc(score_NC, label_N, count_BN), expected, atol=1e-12)


@given(
    st.lists(st.integers(0, 3), min_size=2, max_size=12).flatmap(
        lambda scores: st.tuples(
            st.just(scores),
            st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)),
            st.lists(st.integers(0, 4), min_size=len(scores), max_size=len(scores)),
        )
    )
)
def test_auc_counts_pairs(drawn: tuple[list[int], list[bool], list[int]]) -> None:
    scores, positives, counts = drawn
    wins = pairs = 0.0
    for high, is_positive, times in zip(scores, positives, counts, strict=True):
        for low, other_positive, other_times in zip(scores, positives, counts, strict=True):
            if is_positive and not other_positive:
                pairs += times * other_times
                wins += times * other_times * ((high > low) + 0.5 * (high == low))
    found = auc(np.array(scores, float), np.array(positives), np.array([counts], np.uint16))
    assert found[0] == pytest.approx(wins / pairs) if pairs else np.isnan(found[0])


def test_auc_depends_on_order_only_and_flips_with_the_sign(world: tuple[Array, Array, Array]) -> None:
    score_NC, label_N, count_BN = world
    plain = auc(score_NC[:, 0], label_N == 0, count_BN)
    np.testing.assert_array_equal(auc(np.exp(3 * score_NC[:, 0]), label_N == 0, count_BN), plain)
    np.testing.assert_allclose(auc(-score_NC[:, 0], label_N == 0, count_BN), 1 - plain)


def test_a_replicate_without_a_class_is_nan_and_the_others_are_not() -> None:
    label_N = np.array([0, 0, 1, 1])
    correct_N = np.array([True, True, False, True])
    count_BN = np.array([[1, 1, 1, 1], [2, 2, 0, 0]], np.uint16)
    np.testing.assert_array_equal(balanced_accuracy(correct_N, label_N, count_BN), [0.75, np.nan])
    np.testing.assert_array_equal(macro_auc(np.eye(2)[label_N], label_N, count_BN), [1.0, np.nan])
    np.testing.assert_array_equal(accuracy(correct_N, count_BN), [0.75, 1.0])


def test_balanced_accuracy_weighs_classes_equally() -> None:
    label_N = np.array([0, 0, 0, 1])
    assert balanced_accuracy(np.array([True, True, True, False]), label_N, ONCE_4)[0] == 0.5


@pytest.mark.parametrize(("k", "share"), [(1, 0.25), (2, 0.5), (5, 0.75), (10, 1.0)])
def test_recall_counts_ranks_up_to_k(k: int, share: float) -> None:
    assert recall_at(k, np.array([1.0, 1.5, 5.0, 7.0]), ONCE_4)[0] == share


def test_median_equals_numpy_on_each_resample(world: tuple[Array, Array, Array]) -> None:
    count_BN = world[2]
    value_N = np.random.default_rng(0).integers(1, 9, 40) / 2
    np.testing.assert_array_equal(median(value_N, count_BN), [np.median(value_N[i]) for i in resamples(count_BN)])
