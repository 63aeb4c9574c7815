"""Conformal sets: APS by hand and against MAPIE, and the coverage that both kinds promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin

from mmkd.statistics.conformal import (
    cumulative_scores,
    fewest_groups,
    in_cumulative_sets,
    in_sets,
    score_limit,
    threshold,
)
from mmkd.statistics.metrics import Array


class Known(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose features are its probabilities."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, X: Array, y: Array) -> "Known":
        return self

    def predict_proba(self, X: Array) -> Array:
        return X

    def predict(self, X: Array) -> Array:
        return np.asarray(X.argmax(axis=1))


class NoDraw(np.random.RandomState):
    """What MAPIE subtracts from scores at random is nothing."""

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Array:  # type: ignore[override]
        return np.zeros(size or 1)


def drawn(pictures: int, classes: int, seed: int, spread: float = 1.5) -> tuple[Array, Array]:
    """Probabilities, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    share_NC = softmax(spread * rng.normal(size=(pictures, classes)), axis=1)
    return share_NC, (rng.random(pictures)[:, None] > share_NC.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)


def true(value_NC: Array, label_N: Array) -> Array:
    return np.asarray(value_NC[np.arange(len(label_N)), label_N])


def test_cumulative_scores_by_hand() -> None:
    share_NC = np.array([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]])
    np.testing.assert_allclose(cumulative_scores(share_NC), [[1.0, 0.5, 0.8], [0.75, 1.0, 0.5]])
    assert in_cumulative_sets(share_NC, 0.8).tolist() == [[False, True, True], [True, False, True]]
    assert in_cumulative_sets(share_NC, 0.1).tolist() == [[False, True, False], [False, False, True]]
    assert in_cumulative_sets(share_NC, np.inf).all()


@pytest.mark.parametrize(("pictures", "classes", "coverage"), [(100, 4, 0.9), (57, 3, 0.8), (203, 6, 0.95)])
def test_cumulative_sets_are_those_of_mapie(pictures: int, classes: int, coverage: float) -> None:
    share_NC, label_N = drawn(2 * pictures, classes, seed=pictures)
    here, there = share_NC[:pictures], share_NC[pictures:]
    mapie = SplitConformalClassifier(
        Known(classes), confidence_level=coverage, conformity_score="aps", random_state=NoDraw(0)
    )
    known = mapie.conformalize(here, label_N[:pictures])
    _, wanted = known.predict_set(there, conformity_score_params={"include_last_label": False})
    strange_N = true(cumulative_scores(here), label_N[:pictures])
    limit = score_limit(strange_N, np.arange(pictures), coverage)
    np.testing.assert_array_equal(in_cumulative_sets(there, limit), wanted[:, :, 0])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6)), min_size=1, max_size=40), st.floats(0.05, 0.95))
def test_the_limit_by_brute_force(scored: list[tuple[float, int]], coverage: float) -> None:
    score_N, group_N = np.array([one for one, _ in scored]), np.array([group for _, group in scored])
    groups = np.unique(group_N)

    def mass(limit: float) -> float:
        return float(sum((score_N[group_N == g] <= limit).mean() for g in groups) / (len(groups) + 1))

    reached = [limit for limit in score_N.tolist() if mass(limit) >= coverage - 1e-7]
    assert score_limit(score_N, group_N, coverage) == min(reached, default=np.inf)


def test_both_kinds_of_sets_cover_what_is_asked_by_groups() -> None:
    """Over many draws of val and test, groups of three equal pictures: the mean coverage is at least that asked."""
    covered: dict[str, list[float]] = {"lac": [], "aps": []}
    for seed in range(60):
        share_GC, label_G = drawn(160, 5, seed, spread=2.0)
        share_NC, label_N, group_N = (np.repeat(one, 3, axis=0) for one in (share_GC, label_G, np.arange(160)))
        val_N = group_N < 80
        known, there = share_NC[val_N], share_NC[~val_N]
        least = threshold(true(known, label_N[val_N]), group_N[val_N], 0.9)
        limit = score_limit(true(cumulative_scores(known), label_N[val_N]), group_N[val_N], 0.9)
        covered["lac"].append(float(true(in_sets(there, least), label_N[~val_N]).mean()))
        covered["aps"].append(float(true(in_cumulative_sets(there, limit), label_N[~val_N]).mean()))
    error = 0.3 / np.sqrt(60 * 80) + 0.04 / np.sqrt(60)
    assert 0.9 - 3 * error < np.mean(covered["lac"]) < 0.9 + 1 / 81 + 3 * error
    assert np.mean(covered["aps"]) > 0.9 - 3 * error


def test_too_few_groups_have_no_limit() -> None:
    assert score_limit(np.array([0.1, 0.2]), np.array([0, 1]), 0.9) == np.inf
    assert threshold(np.array([0.9, 0.8]), np.array([0, 1]), 0.9) == 0.0
    assert fewest_groups(0.9) == 50
