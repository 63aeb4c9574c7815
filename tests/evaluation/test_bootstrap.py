"""Draws keep what they promise to keep; intervals and p-values on hand-made replicates."""

import numpy as np
import pytest

from mmkd.evaluation.statistics import bootstrap
from mmkd.evaluation.statistics.bootstrap import (
    describe_draws,
    draw_counts,
    percentile_interval,
    replicate,
    two_sided_p,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_plain_draws_are_multinomial() -> None:
    count_BN = draw_counts([""] * 5, None, 20_000, rng())
    assert (count_BN.sum(axis=1) == 5).all()
    np.testing.assert_allclose(count_BN.mean(axis=0), 1.0, atol=0.03)
    # variance n p (1 - p) and covariance -n p p of a multinomial with n = 5, p = 1/5
    np.testing.assert_allclose(np.cov(count_BN.T), np.eye(5) - 0.2, atol=0.03)


def test_draws_by_class_keep_the_class_sizes() -> None:
    label_N = np.array([0, 1, 0, 2, 0, 1])
    count_BN = draw_counts([""] * 6, label_N, 200, rng())
    for label, size in ((0, 3), (1, 2), (2, 1)):
        assert (count_BN[:, label_N == label].sum(axis=1) == size).all()


def test_groups_are_drawn_whole_and_lone_samples_alone() -> None:
    group_N = ["a", "b", "a", "", ""]
    count_BN = draw_counts(group_N, np.zeros(5, int), 4000, rng())
    np.testing.assert_array_equal(count_BN[:, 0], count_BN[:, 2])
    assert (count_BN[:, [0, 1, 3, 4]].sum(axis=1) == 4).all()
    assert len(np.unique(count_BN[:, [0, 1, 3, 4]], axis=0)) > 20


def test_a_group_named_like_a_lone_sample_is_another() -> None:
    count_BN = draw_counts(["1", ""], None, 100, rng())
    assert (count_BN.sum(axis=1) == 2).all()
    assert (count_BN[:, 0] != count_BN[:, 1]).any()


def test_equal_seeds_draw_equally_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw_counts([""] * 7, None, 30, rng())
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 20)
    np.testing.assert_array_equal(draw_counts([""] * 7, None, 30, rng()), whole)
    total = replicate(lambda weight_BN: {"first": weight_BN[:, 0] * 1.0}, whole)
    np.testing.assert_array_equal(total["first"], whole[:, 0])


@pytest.mark.parametrize(
    ("group", "label", "words"),
    [
        (["", ""], None, "samples"),
        (["", ""], np.array([0, 1]), "samples within each class"),
        (["a", ""], np.array([0, 1]), "groups"),
    ],
)
def test_the_protocol_says_what_is_drawn(group: list[str], label: np.ndarray | None, words: str) -> None:
    assert describe_draws(group, label) == words


def test_percentile_interval_by_hand() -> None:
    assert percentile_interval(np.arange(101) / 100, 0.9) == pytest.approx((0.05, 0.95))


def test_percentile_interval_covers_the_mean_as_often_as_it_says() -> None:
    source = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        value_N = source.normal(size=60)
        count_BN = draw_counts([""] * 60, None, 200, np.random.default_rng(trial))
        low, high = percentile_interval(count_BN @ value_N / 60, 0.9)
        hits += low <= 0 <= high
    assert 0.84 < hits / 300 < 0.95


def test_undefined_replicates_do_not_enter_the_interval() -> None:
    assert percentile_interval(np.array([0.5, np.nan, 0.5]), 0.95) == (0.5, 0.5)
    assert np.isnan(percentile_interval(np.array([np.nan]), 0.95)).all()


@pytest.mark.parametrize(
    ("difference", "p"),
    [
        (np.ones(999), 2 / 1000),
        (-np.ones(999), 2 / 1000),
        (np.zeros(10), 1.0),
        (np.array([1.0, 2.0, 3.0, -1.0, np.nan]), 2 * 2 / 5),
    ],
)
def test_two_sided_p_by_hand(difference: np.ndarray, p: float) -> None:
    assert two_sided_p(difference) == pytest.approx(p)


def test_two_sided_p_does_not_depend_on_the_sign() -> None:
    difference = np.random.default_rng(2).normal(0.5, 1.0, 500)
    assert two_sided_p(difference) == two_sided_p(-difference)
