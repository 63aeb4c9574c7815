"""Draws keep what they promise to keep; intervals and p-values on hand-made replicates."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import binomtest

from mmkd.statistics import bootstrap
from mmkd.statistics.bootstrap import Interval, all_or_none, percentile_interval, plan_draws, replicate, two_sided_p
from mmkd.statistics.metrics import Array


def drawn(group: Sequence[str], label: Array | None, replicates: int, seed: int = 0) -> Array:
    return np.concatenate(list(plan_draws(group, label, replicates, (seed,)).blocks()))


def test_plain_draws_are_multinomial() -> None:
    count_BN = drawn([""] * 5, None, 20_000)
    assert (count_BN.sum(axis=1) == 5).all()
    np.testing.assert_allclose(count_BN.mean(axis=0), 1.0, atol=0.03)
    # variance n p (1 - p) and covariance -n p p of a multinomial with n = 5, p = 1/5
    np.testing.assert_allclose(np.cov(count_BN.T), np.eye(5) - 0.2, atol=0.03)


def test_draws_by_class_keep_the_class_sizes_and_are_independent() -> None:
    label_N = np.array([0, 1, 0, 2, 0, 1, 1])
    count_BN = drawn([""] * 7, label_N, 20_000)
    for label, size in ((0, 3), (1, 3), (2, 1)):
        assert (count_BN[:, label_N == label].sum(axis=1) == size).all()
    expected = np.where(label_N[:, None] == label_N, np.eye(7) - 1 / np.bincount(label_N)[label_N], 0)
    np.testing.assert_allclose(np.cov(count_BN.T), expected, atol=0.03)


def test_groups_are_drawn_whole_and_lone_samples_alone() -> None:
    group_N = ["a", "b", "a", "", ""]
    count_BN = drawn(group_N, np.zeros(5, int), 4000)
    np.testing.assert_array_equal(count_BN[:, 0], count_BN[:, 2])
    assert (count_BN[:, [0, 1, 3, 4]].sum(axis=1) == 4).all()
    assert len(np.unique(count_BN[:, [0, 1, 3, 4]], axis=0)) > 20


def test_a_group_named_like_a_lone_sample_is_another() -> None:
    count_BN = drawn(["1", ""], None, 100)
    assert (count_BN.sum(axis=1) == 2).all()
    assert (count_BN[:, 0] != count_BN[:, 1]).any()


@pytest.mark.parametrize("group", [[""] * 7, ["a", "a", "b", "", "", "c", "c"]])
@pytest.mark.parametrize("label", [None, np.array([0, 0, 0, 1, 1, 1, 1])])
def test_equal_seeds_draw_equally_and_blocks_change_nothing(
    group: list[str], label: Array | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = plan_draws(group, label, 30, (1, 2))
    (whole,) = draws.blocks()
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 20)
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 5)
    parts = list(draws.blocks())
    assert {len(part) for part in parts} == {2}
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert (drawn(group, label, 30) != whole).any()


def test_metrics_see_every_replicate_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = plan_draws([""] * 7, None, 31, (0,))
    whole = drawn([""] * 7, None, 31)
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 20)
    found = replicate(lambda weight_BN: {"first": weight_BN[:, 0] * 1.0, "last": weight_BN[:, -1] * 1.0}, draws)
    np.testing.assert_array_equal(found["first"], whole[:, 0])
    np.testing.assert_array_equal(found["last"], whole[:, -1])


@pytest.mark.parametrize(
    ("group", "label", "words"),
    [
        (["", ""], None, "samples"),
        (["", ""], np.array([0, 1]), "samples within each class"),
        (["a", ""], np.array([0, 1]), "groups"),
    ],
)
def test_the_protocol_says_what_is_drawn(group: list[str], label: Array | None, words: str) -> None:
    assert plan_draws(group, label, 1, (0,)).words == words


@pytest.mark.parametrize(
    ("group", "label", "replicates", "complaint"),
    [
        ([], None, 5, "0 samples and 5 replicates"),
        ([""], None, 0, "1 samples and 0 replicates"),
        ([""], np.array([0, 1]), 5, "2 labels for 1 samples"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    group: list[str], label: Array | None, replicates: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        plan_draws(group, label, replicates, (0,))


def test_percentile_interval_by_hand() -> None:
    found = percentile_interval(np.arange(101) / 100, 0.9)
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))
    assert (found.replicates, found.undefined) == (101, 0)


def test_percentile_interval_covers_the_mean_as_often_as_it_says() -> None:
    source = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        value_N = source.normal(size=60)
        found = percentile_interval(drawn([""] * 60, None, 200, seed=trial) @ value_N / 60, 0.9)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 0 <= found.high
    assert 0.84 < hits / 300 < 0.95


def test_undefined_replicates_are_counted_and_do_not_enter_the_interval() -> None:
    assert percentile_interval(np.array([0.5, np.nan, 0.5, np.inf]), 0.95) == Interval(0.5, 0.5, 4, 2, is_alike=True)
    assert percentile_interval(np.array([np.nan]), 0.95) == Interval(None, None, 1, 1)


def test_replicates_that_differ_by_rounding_alone_are_alike() -> None:
    assert percentile_interval(np.array([0.1 + 0.2, 0.3]), 0.95).is_alike
    assert not percentile_interval(np.array([0.3, 0.3, 0.31]), 0.95).is_alike


@pytest.mark.parametrize("units", [1, 2, 20, 500])
def test_the_exact_interval_of_all_and_of_none_is_scipys(units: int) -> None:
    for right in (0, units):
        expected = binomtest(right, units).proportion_ci(0.9, "exact")
        assert all_or_none(right > 0, units, 0.9) == pytest.approx((expected.low, expected.high))


def test_an_exact_interval_needs_a_unit() -> None:
    with pytest.raises(ValueError, match="0 units, expected one or more"):
        all_or_none(True, 0, 0.95)


def test_a_confidence_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence 95, expected a number between 0 and 1"):
        percentile_interval(np.zeros(3), 95)


@pytest.mark.parametrize(
    ("difference", "p"),
    [
        (np.linspace(1, 2, 999), 2 / 1000),
        (-np.linspace(1, 2, 999), 2 / 1000),
        (np.ones(999), 1.0),  # no error to compare it with
        (np.zeros(10), 1.0),
        (np.array([1.0, 2.0, 3.0, -1.0, np.nan]), 2 * 2 / 5),
        (np.array([np.nan]), 1.0),
    ],
)
def test_two_sided_p_by_hand(difference: Array, p: float) -> None:
    assert two_sided_p(difference) == pytest.approx(p)


def test_two_sided_p_does_not_depend_on_the_sign() -> None:
    difference = np.random.default_rng(2).normal(0.5, 1.0, 500)
    assert two_sided_p(difference) == two_sided_p(-difference)


def test_a_true_null_is_called_different_as_often_as_alpha_says() -> None:
    """Two equally good models, paired; 5 % of 400 tries are 20, give or take 4.4."""
    rng = np.random.default_rng(3)
    calls = 0
    for trial in range(400):
        gap_N = rng.normal(size=80)
        calls += two_sided_p(drawn([""] * 80, None, 199, seed=trial) @ gap_N) <= 0.05
    assert 8 <= calls <= 36
