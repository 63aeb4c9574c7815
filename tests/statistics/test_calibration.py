"""Calibration errors, Brier scores and the temperature against scikit-learn, SciPy and bins filled by hand."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from weightings import counts, once, resamples

from mmkd.statistics import metrics
from mmkd.statistics.calibration import (
    BOUNDS,
    ReliabilityBin,
    bounded_temperature,
    brier,
    ece_equal_mass,
    ece_equal_width,
    fit_temperature,
    reliability_curve,
)
from mmkd.statistics.metrics import Array, one_vs_rest
from tolerance import assert_rounding

Ece = Callable[[Array, Array, Array, int], Array]


@pytest.fixture
def world() -> tuple[Array, Array, Array]:
    """Confidences with ties, some on the edges of bins (N,), what is correct (N,), counts (B, N)."""
    rng = np.random.default_rng(0)
    confidence_N = rng.integers(0, 21, 60) / 20
    return confidence_N, rng.random(60) < confidence_N, counts(60, 25, seed=1)


def ece_by_scikit_learn(confidence_N: Array, correct_N: Array, bins: int) -> float:
    """Bins from `calibration_curve`; how many samples each holds is counted with the intervals of the definition."""
    share_K, mean_K = calibration_curve(correct_N, confidence_N, n_bins=bins)
    edges = np.linspace(0, 1, bins + 1)
    sizes = [np.count_nonzero((confidence_N > low) & (confidence_N <= high)) for low, high in pairwise(edges)]
    sizes[0] += np.count_nonzero(confidence_N == 0)
    sizes = [size for size in sizes if size]
    return float(np.dot(sizes, np.abs(share_K - mean_K)) / len(confidence_N))


def ece_of_equal_masses(confidence_N: Array, correct_N: Array, bins: int) -> float:
    """The rule read aloud: equal confidences share the middle of their places, and a place falls into a bin."""
    gap = np.zeros(bins)
    for value in set(confidence_N.tolist()):
        here = confidence_N == value
        places = np.flatnonzero(np.sort(confidence_N) == value)
        middle = (places[0] + places[-1] + 1) / 2
        gap[min(int(middle * bins / len(confidence_N)), bins - 1)] += (confidence_N[here] - correct_N[here]).sum()
    return float(np.abs(gap).sum() / len(confidence_N))


@pytest.mark.parametrize("bins", [1, 4, 10, 15])
def test_equal_widths_equal_scikit_learns_bins_on_each_resample(bins: int, world: tuple[Array, Array, Array]) -> None:
    confidence_N, correct_N, count_BN = world
    expected = [ece_by_scikit_learn(confidence_N[i], correct_N[i], bins) for i in resamples(count_BN)]
    np.testing.assert_allclose(ece_equal_width(confidence_N, correct_N, count_BN, bins), expected, atol=1e-12)


@pytest.mark.parametrize("bins", [1, 4, 10, 15])
def test_equal_masses_equal_the_rule_on_each_resample(bins: int, world: tuple[Array, Array, Array]) -> None:
    confidence_N, correct_N, count_BN = world
    expected = [ece_of_equal_masses(confidence_N[i], correct_N[i], bins) for i in resamples(count_BN)]
    np.testing.assert_allclose(ece_equal_mass(confidence_N, correct_N, count_BN, bins), expected, atol=1e-12)


def test_distinct_confidences_fill_equal_masses_as_quantile_bins_do() -> None:
    rng = np.random.default_rng(2)
    confidence_N = rng.permutation(60) / 59
    correct_N = rng.random(60) < 0.5
    share_K, mean_K = calibration_curve(correct_N, confidence_N, n_bins=5, strategy="quantile")
    assert ece_equal_mass(confidence_N, correct_N, once(60), 5)[0] == pytest.approx(np.abs(share_K - mean_K).mean())


@pytest.mark.parametrize("ece", [ece_equal_width, ece_equal_mass])
def test_ece_by_hand(ece: Ece) -> None:
    confidence_N = np.array([0.2, 0.2, 0.9, 0.7])
    correct_N = np.array([True, False, True, False])
    # two bins either way: |0.4 - 1| and |1.6 - 1| over four samples
    assert ece(confidence_N, correct_N, once(4), 2)[0] == pytest.approx((0.6 + 0.6) / 4)


@pytest.mark.parametrize("ece", [ece_equal_width, ece_equal_mass])
def test_ece_of_a_constant_is_its_distance_from_the_share_correct(ece: Ece) -> None:
    correct_N = np.array([True, False, False, False, True])
    assert ece(np.full(5, 0.9), correct_N, once(5), 15)[0] == pytest.approx(0.5)
    assert ece(correct_N * 1.0, correct_N, once(5), 15)[0] == 0


@pytest.mark.parametrize("ece", [ece_equal_width, ece_equal_mass])
def test_more_weight_on_all_changes_nothing_and_none_is_nan(ece: Ece, world: tuple[Array, Array, Array]) -> None:
    confidence_N, correct_N, count_BN = world
    plain = ece(confidence_N, correct_N, count_BN, 10)
    np.testing.assert_allclose(ece(confidence_N, correct_N, count_BN * 0.37, 10), plain, atol=1e-12)
    np.testing.assert_array_equal(ece(confidence_N, correct_N, np.zeros((2, 60), np.uint16), 10), [np.nan, np.nan])


def test_the_size_of_the_chunks_changes_nothing(
    world: tuple[Array, Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ece_equal_mass(*world, 10)
    monkeypatch.setattr(metrics, "CHUNK_CELLS", 200)
    assert_rounding(ece_equal_mass(*world, 10), whole)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 8))
def test_ece_lies_between_the_overall_gap_and_the_mean_distance(samples: list[tuple[float, bool]], bins: int) -> None:
    confidence_N, correct_N = np.array([c for c, _ in samples]), np.array([right for _, right in samples])
    gap_N = confidence_N - correct_N
    for ece in (ece_equal_width, ece_equal_mass):
        found = ece(confidence_N, correct_N, once(len(samples)), bins)[0]
        assert abs(gap_N.mean()) - 1e-12 <= found <= np.abs(gap_N).mean() + 1e-12


def test_the_reliability_curve_holds_every_sample_and_gives_the_ece(world: tuple[Array, Array, Array]) -> None:
    confidence_N, correct_N, _ = world
    curve = reliability_curve(confidence_N, correct_N, 10)
    assert sum(entry.count for entry in curve) == 60
    error = sum(entry.count * abs(entry.confidence - entry.correct) for entry in curve) / 60
    assert error == pytest.approx(ece_equal_width(confidence_N, correct_N, once(60), 10)[0])
    share_K, mean_K = calibration_curve(correct_N, confidence_N, n_bins=10)
    np.testing.assert_allclose([(e.correct, e.confidence) for e in curve], np.stack([share_K, mean_K], axis=1))


def test_the_reliability_curve_leaves_empty_bins_out() -> None:
    found = reliability_curve(np.array([0.5, 0.5, 1.0]), np.array([True, False, True]), 4)
    assert found == [ReliabilityBin(0.25, 0.5, 2, 0.5, 0.5), ReliabilityBin(0.75, 1.0, 1, 1.0, 1.0)]


def test_brier_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(4)
    probability_NC, label_N = softmax(rng.normal(size=(40, 3)), axis=1), rng.integers(0, 3, 40)
    count_BN = counts(40, 20, seed=5)
    member_NC = one_vs_rest(label_N, 3)
    drawn = resamples(count_BN)
    np.testing.assert_allclose(
        brier(probability_NC, member_NC, count_BN),
        [brier_score_loss(label_N[i], probability_NC[i], labels=[0, 1, 2]) for i in drawn],
        rtol=1e-12,
    )


def test_brier_by_hand() -> None:
    positive_N, probability_N = np.array([True, False]), np.array([0.75, 1.0])
    both_NC = np.stack([1 - probability_N, probability_N], axis=1)
    assert brier(both_NC, np.stack([~positive_N, positive_N], axis=1), once(2))[0] == 0.0625 + 1


HALF, RIGHT = np.full(2, 0.5), np.array([True, False])


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: ece_equal_width(np.array([0.5, 1.5]), RIGHT, once(2)), "1 probabilities lie outside 0..1; apply soft"),
        (lambda: ece_equal_mass(np.array([0.5, np.nan]), RIGHT, once(2)), "probability: 1 of 2 are not finite"),
        (lambda: ece_equal_mass(HALF, RIGHT, once(2), 0), "0 bins, expected 1 or more"),
        (lambda: ece_equal_width(HALF, RIGHT, once(2), 0), "0 bins, expected 1 or more"),
        (lambda: ece_equal_width(HALF, RIGHT * 1, once(2)), "truth: found int64, expected booleans"),
        (lambda: ece_equal_mass(HALF, RIGHT[:1], once(2)), r"shape \(2,\) for truths of shape \(1,\)"),
        (lambda: brier(np.full((2, 3), 0.5), np.ones((2, 3), bool), once(2)), "sum to one give or take 0.5"),
    ],
)
def test_what_is_wrong_is_said(call: Callable[[], Array], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()


def drawn_labels(score_NC: Array, seed: int) -> Array:
    """Labels that follow softmax(score)."""
    share_NC = softmax(score_NC, axis=1).cumsum(axis=1)
    return (np.random.default_rng(seed).random(len(score_NC))[:, None] > share_NC[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("true", [0.01, 1.0, 20.0])
def test_the_temperature_that_made_the_labels_is_found(true: float) -> None:
    believed_NC = np.random.default_rng(6).normal(size=(20_000, 4)) * 2
    found = fit_temperature(believed_NC * true, drawn_labels(believed_NC, seed=7))
    assert found.value == pytest.approx(true, rel=0.05)
    assert not found.at_bound


def test_the_temperature_equals_scipys_minimum_and_cannot_be_bettered() -> None:
    rng = np.random.default_rng(8)
    score_NC, label_N = rng.normal(size=(50, 3)) * 5, rng.integers(0, 3, 50)
    score_NC[np.arange(50), label_N] += 1

    def loss(temperature: float) -> float:
        return float(-log_softmax(score_NC / temperature, axis=1)[np.arange(50), label_N].mean())

    found = fit_temperature(score_NC, label_N)
    by_scipy = minimize_scalar(lambda log: loss(np.exp(log)), bounds=(-5, 8), method="bounded", options={"xatol": 1e-9})
    assert found.value == pytest.approx(np.exp(by_scipy.x), rel=1e-6)
    assert loss(found.value) < min(loss(1), loss(found.value * 1.001), loss(found.value / 1.001))


def test_the_temperature_scales_with_the_scores_and_ignores_what_softmax_ignores() -> None:
    rng = np.random.default_rng(9)
    score_NC = rng.normal(size=(60, 3))
    label_N = drawn_labels(score_NC, seed=10)
    plain = fit_temperature(score_NC, label_N).value
    assert fit_temperature(score_NC * 0.01, label_N).value == pytest.approx(0.01 * plain, rel=1e-9)
    assert fit_temperature(score_NC + rng.normal(size=(60, 1)), label_N).value == pytest.approx(plain, rel=1e-9)


def test_two_columns_fit_like_a_logistic_slope() -> None:
    """d/da sum(log(1 + exp(-a y s))) = 0, whose zero is worked out on three samples: 2 right and 1 wrong at |s| = 1."""
    score_NC = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    found = fit_temperature(score_NC, np.array([1, 1, 0]))
    assert 1 / found.value == pytest.approx(np.log(2))  # sigmoid(a) = 2/3


def test_the_bounds_are_said() -> None:
    label_N = np.array([0, 1])
    for score_NC, value in (
        (np.eye(2), BOUNDS[0]),  # every sample right by a margin: the surer the better
        (-np.eye(2), BOUNDS[1]),  # every sample wrong: the less sure the better
        (np.zeros((2, 2)), BOUNDS[1]),
    ):
        found = fit_temperature(score_NC, label_N)
        assert (found.value, found.at_bound) == (value, True)


def test_samples_that_are_all_right_give_a_bounded_temperature() -> None:
    """Two classes a margin of 1 apart: the mean probability of the label becomes (n + 1) / (n + 2)."""
    for samples in (3, 30):
        found = bounded_temperature(np.eye(2), np.array([0, 1]), samples)
        assert 1 / (1 + np.exp(-1 / found.value)) == pytest.approx((samples + 1) / (samples + 2))
        assert not found.at_bound


def test_the_bounded_temperature_minimises_the_cross_entropy_with_platts_targets() -> None:
    rng = np.random.default_rng(11)
    label_N = rng.integers(0, 4, 40)
    score_NC = rng.uniform(0, 1, (40, 4))
    score_NC[np.arange(40), label_N] += 1.1
    target_NC = np.full((40, 4), 1 / 22 / 3)
    target_NC[np.arange(40), label_N] = 21 / 22

    def loss(temperature: float) -> float:
        return float(-(target_NC * log_softmax(score_NC / temperature, axis=1)).sum(axis=1).mean())

    found = bounded_temperature(score_NC, label_N, 20).value
    by_scipy = minimize_scalar(lambda log: loss(np.exp(log)), bounds=(-6, 5), method="bounded", options={"xatol": 1e-9})
    assert found == pytest.approx(np.exp(by_scipy.x), rel=1e-6)
    assert fit_temperature(score_NC, label_N).at_bound


@pytest.mark.parametrize(
    ("score", "label", "complaint"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), r"labels \[3\] among the samples, expected 0..2"),
        (np.full((2, 3), np.nan), np.array([0, 1]), "score: 6 of 6 are not finite"),
        (np.zeros((2, 1)), np.array([0, 0]), r"scores \(2, 1\) for labels \(2,\)"),
        (np.zeros((0, 3)), np.array([], int), r"scores \(0, 3\) for labels \(0,\)"),
        (np.zeros((2, 3)), np.array([0]), r"scores \(2, 3\) for labels \(1,\)"),
    ],
)
def test_what_no_temperature_fits_is_refused(score: Array, label: Array, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        fit_temperature(score, label)
