"""Areas and average precision under weights against scikit-learn and against counting pairs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from weightings import counts, once, resamples

from mmkd.statistics import metrics, ranking
from mmkd.statistics.metrics import Array, macro, one_vs_rest
from mmkd.statistics.ranking import auc, average_precision
from tolerance import assert_rounding

Metric = Callable[[Array, Array, Array], Array]
ORACLES = [(auc, roc_auc_score), (average_precision, average_precision_score)]

SAMPLES = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 4)), min_size=1, max_size=12
)  # score, positive, how often drawn


@pytest.fixture
def world() -> tuple[Array, Array, Array]:
    """Scores with ties (N, C), labels (N,), counts (B, N) that leave no class out."""
    rng = np.random.default_rng(3)
    label_N = np.concatenate([np.arange(3), rng.integers(0, 3, 37)])
    return rng.integers(0, 6, (40, 3)) / 5, label_N, counts(40, 25, seed=4, kept=3)


@pytest.mark.parametrize(("metric", "oracle"), ORACLES)
@pytest.mark.parametrize("ties", [True, False])
def test_one_class_equals_scikit_learn_on_each_resample(
    metric: Metric, oracle: Callable[..., float], ties: bool, world: tuple[Array, Array, Array]
) -> None:
    score_NC, label_N, count_BN = world
    score_N = score_NC[:, 0] if ties else np.random.default_rng(7).normal(size=40) + (label_N == 0)
    expected = [oracle(label_N[i] == 0, score_N[i]) for i in resamples(count_BN)]
    np.testing.assert_allclose(metric(score_N, label_N == 0, count_BN), expected, atol=1e-12)


@pytest.mark.parametrize(("metric", "oracle"), ORACLES)
def test_the_mean_over_classes_equals_scikit_learn_on_each_resample(
    metric: Metric, oracle: Callable[..., float], world: tuple[Array, Array, Array]
) -> None:
    score_NC, label_N, count_BN = world
    member_NC = one_vs_rest(label_N, 3)
    expected = [oracle(member_NC[i], score_NC[i], average="macro") for i in resamples(count_BN)]
    np.testing.assert_allclose(macro(metric, score_NC, member_NC, count_BN), expected, atol=1e-12)


@pytest.mark.parametrize(("metric", "oracle"), ORACLES)
def test_several_labels_a_sample_equal_scikit_learn(
    metric: Metric, oracle: Callable[..., float], world: tuple[Array, Array, Array]
) -> None:
    score_NC, _, count_BN = world
    positive_NC = np.random.default_rng(8).random((40, 3)) < 0.3
    positive_NC[0], positive_NC[1] = True, False
    expected = [oracle(positive_NC[i], score_NC[i], average="macro") for i in resamples(count_BN)]
    np.testing.assert_allclose(macro(metric, score_NC, positive_NC, count_BN), expected, atol=1e-12)


@pytest.mark.parametrize(("metric", "oracle"), ORACLES)
def test_real_weights_and_weights_of_zero_equal_scikit_learns(
    metric: Metric, oracle: Callable[..., float], world: tuple[Array, Array, Array]
) -> None:
    score_NC, label_N, _ = world
    weight_BN = np.random.default_rng(9).random((5, 40)) * (np.arange(40) % 4 > 0)
    expected = [oracle(label_N == 2, score_NC[:, 2], sample_weight=weight_N) for weight_N in weight_BN]
    np.testing.assert_allclose(metric(score_NC[:, 2], label_N == 2, weight_BN), expected, atol=1e-12)


@given(SAMPLES)
def test_auc_counts_pairs(samples: list[tuple[int, bool, int]]) -> None:
    wins = pairs = 0.0
    for high, is_positive, times in samples:
        for low, other_positive, other_times in samples:
            if is_positive and not other_positive:
                pairs += times * other_times
                wins += times * other_times * ((high > low) + 0.5 * (high == low))
    found = auc(*columns(samples))[0]
    assert found == (wins / pairs) if pairs else np.isnan(found)


@given(SAMPLES)
def test_average_precision_walks_down_the_list(samples: list[tuple[int, bool, int]]) -> None:
    positives = sum(times for _, positive, times in samples if positive)
    total = 0.0
    for score in {score for score, _, _ in samples}:
        at_least = [(s, positive, times) for s, positive, times in samples if s >= score]
        drawn = sum(times for _, _, times in at_least)
        hits = sum(times for _, positive, times in at_least if positive)
        here = sum(times for s, positive, times in at_least if positive and s == score)
        total += here * hits / drawn if drawn else 0
    found = average_precision(*columns(samples))[0]
    assert found == pytest.approx(total / positives, abs=1e-12) if positives else np.isnan(found)


def columns(samples: list[tuple[int, bool, int]]) -> tuple[Array, Array, Array]:
    scores, positives, times = zip(*samples, strict=True)
    return np.array(scores, float), np.array(positives), np.array([times], np.uint16)


def test_auc_depends_on_order_only_and_flips_with_the_sign(world: tuple[Array, Array, Array]) -> None:
    score_NC, label_N, count_BN = world
    plain = auc(score_NC[:, 0], label_N == 0, count_BN)
    np.testing.assert_array_equal(auc(np.exp(3 * score_NC[:, 0]), label_N == 0, count_BN), plain)
    np.testing.assert_allclose(auc(-score_NC[:, 0], label_N == 0, count_BN), 1 - plain, atol=1e-12)


def test_constant_scores_are_chance() -> None:
    positive_N = np.array([True, False, False, True, False])
    count_BN = counts(5, 20, seed=0, kept=2)
    np.testing.assert_array_equal(auc(np.zeros(5), positive_N, count_BN), 0.5)
    prevalence_B = count_BN[:, positive_N].sum(axis=1) / count_BN.sum(axis=1)
    np.testing.assert_allclose(average_precision(np.zeros(5), positive_N, count_BN), prevalence_B, rtol=1e-12)


def test_unsigned_scores_are_not_turned_round() -> None:
    score_N, positive_N = np.array([0, 200, 3], np.uint8), np.array([False, True, False])
    assert auc(score_N, positive_N, once(3))[0] == 1
    assert average_precision(score_N, positive_N, once(3))[0] == 1


def test_a_replicate_without_a_class_is_nan_and_the_others_are_not() -> None:
    positive_N = np.array([False, False, True, True])
    count_BN = np.array([[1, 1, 1, 1], [2, 2, 0, 0], [0, 0, 1, 3]], np.uint16)
    np.testing.assert_array_equal(auc(positive_N * 1.0, positive_N, count_BN), [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(average_precision(positive_N * 1.0, positive_N, count_BN), [1.0, np.nan, 1.0])
    member_NC = np.stack([~positive_N, positive_N, np.zeros(4, bool)], axis=1)  # no sample of the third class at all
    assert np.isnan(macro(auc, member_NC * 1.0, member_NC, count_BN)).all()


@pytest.mark.parametrize("metric", [auc, average_precision])
def test_the_size_of_the_chunks_changes_nothing(
    metric: Metric, world: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    score_NC, label_N, count_BN = world
    whole = metric(score_NC[:, 0], label_N == 0, count_BN)
    monkeypatch.setattr(metrics, "CHUNK_CELLS", 120)
    assert_rounding(metric(score_NC[:, 0], label_N == 0, count_BN), whole)


@pytest.mark.parametrize("metric", [auc, average_precision])
def test_what_is_wrong_is_said(metric: Metric) -> None:
    positive_N = np.array([True, False])
    with pytest.raises(ValueError, match="score: 1 of 2 are not finite"):
        metric(np.array([np.nan, 1.0]), positive_N, once(2))
    with pytest.raises(ValueError, match="positive: found int64, expected booleans"):
        metric(np.zeros(2), positive_N.astype(int), once(2))
    with pytest.raises(ValueError, match=r"scores of shape \(3,\) for positives of shape \(2,\)"):
        metric(np.zeros(3), positive_N, once(2))


@pytest.mark.parametrize("kind", [np.uint16, np.float64])
def test_many_classes_with_few_positives_give_the_bits_of_sorting(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    score_NC = rng.integers(0, 9, size=(60, 20)).astype(np.float32)  # many ties
    label_N = np.arange(60) % 20
    count_BN: np.ndarray = rng.multinomial(60, np.full(60, 1 / 60), size=50).astype(kind)
    several_NC = one_vs_rest(label_N, 20) | (rng.random((60, 20)) < 0.03)
    for member_NC in (one_vs_rest(label_N, 20), several_NC):
        for size in (2**23, 130):  # at once, and in pieces that cut classes
            monkeypatch.setattr(ranking, "PRODUCT_CELLS", size)
            found = ranking.macro_auc(score_NC, member_NC, count_BN)
            np.testing.assert_allclose(found, macro(auc, score_NC, member_NC, count_BN), rtol=1e-12)
    with pytest.raises(ValueError, match="are not finite"):
        ranking.macro_auc(np.full_like(score_NC, np.nan), several_NC, count_BN)
