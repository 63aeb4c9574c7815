"""Closed forms and gradients against scikit-learn, SciPy and finite differences; without labels all is zero-shot."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from mmkd.adapt.methods import METHODS, STEPS, Method, lp_path, lp_plus_plus, ss_text
from mmkd.statistics.metrics import Array

SCALE = 20.0


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def world(count: int = 90, classes: int = 3, dim: int = 6, spread: float = 0.3, seed: int = 0) -> tuple[Array, ...]:
    """Vectors around directions of their classes, labels, and prompts that only roughly point there."""
    rng = np.random.default_rng(seed)
    centre_CD = unit(rng.normal(size=(classes, dim)))
    label_N = rng.integers(classes, size=count)
    vector_ND = unit(centre_CD[label_N] + spread * rng.normal(size=(count, dim)))
    return vector_ND, label_N, unit(centre_CD + 0.8 * rng.normal(size=(classes, dim)))


def loss(vector_ND: Array, label_N: Array, weight_CD: Array) -> float:
    return -float(log_softmax(vector_ND @ weight_CD.T, axis=1)[np.arange(len(label_N)), label_N].mean())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_without_labels_every_method_is_zero_shot(method: Method) -> None:
    _, _, text_CD = world()
    found = method.fit(np.empty((0, 6)), np.empty(0, np.int64), text_CD, SCALE)
    assert len(found) == len(method.settings)
    for weight_CD in found:
        np.testing.assert_allclose(weight_CD, SCALE * text_CD, rtol=1e-12)


@pytest.mark.parametrize("by_class", [False, True])
def test_ss_text_is_the_minimiser_of_its_penalised_loss(by_class: bool) -> None:
    vector_ND, label_N, text_CD = world(count=25)
    count_C, n = np.bincount(label_N, minlength=3), len(label_N)
    penalty_C = 1 / count_C if by_class else np.full(3, 1 / n)

    def objective(flat: Array) -> float:
        weight_CD = flat.reshape(text_CD.shape)
        fit = -SCALE * (vector_ND * weight_CD[label_N]).sum() / n
        return fit + (penalty_C / 2 * ((weight_CD - text_CD) ** 2).sum(axis=1)).sum()

    best = minimize(objective, text_CD.ravel(), method="BFGS", options={"gtol": 1e-7}).x.reshape(text_CD.shape)
    np.testing.assert_allclose(ss_text(vector_ND, label_N, text_CD, SCALE)[by_class] / SCALE, unit(best), atol=1e-5)


def test_a_class_without_labels_keeps_its_prompt_in_ss_text() -> None:
    vector_ND, label_N, text_CD = world()
    for weight_CD in ss_text(vector_ND[label_N < 2], label_N[label_N < 2], text_CD, SCALE):
        np.testing.assert_allclose(weight_CD[2], SCALE * text_CD[2])


@pytest.mark.parametrize("seed", range(3))
def test_no_step_of_lp_plus_plus_raises_the_loss(seed: int) -> None:
    vector_ND, label_N, text_CD = world(seed=seed, classes=5, spread=0.8)
    path = lp_path(vector_ND, label_N, text_CD, SCALE, np.ones(90), tuple(range(1, 60)))
    losses = [loss(vector_ND, label_N, weight_CD) for weight_CD in [SCALE * text_CD, *path]]
    assert (np.diff(losses) <= 1e-12).all()
    assert losses[-1] < losses[0]


def test_lp_plus_plus_reaches_the_minimum_of_the_cross_entropy() -> None:
    """Where classes overlap there is one; found by SciPy from zero on."""
    vector_ND, label_N, text_CD = world(count=200, dim=3, spread=1.0)
    [weight_CD] = lp_path(vector_ND, label_N, text_CD, 1.0, np.ones(200), (4000,))
    best = minimize(lambda flat: loss(vector_ND, label_N, flat.reshape(3, 3)), np.zeros(9), method="BFGS").fun
    assert loss(vector_ND, label_N, weight_CD) == pytest.approx(best, abs=1e-5)


def test_counting_every_class_once_is_counting_copies() -> None:
    """Weights that make classes equal give what copies of the rare class give."""
    vector_ND, label_N, text_CD = world(count=30, classes=2)
    rare = np.flatnonzero(label_N == 1)[:5]
    common = np.flatnonzero(label_N == 0)[:10]
    once, twice = np.concatenate([common, rare]), np.concatenate([common, rare, rare])
    weighted = lp_plus_plus(vector_ND[once], label_N[once], text_CD, SCALE)[len(STEPS) :]
    copied = lp_plus_plus(vector_ND[twice], label_N[twice], text_CD, SCALE)[: len(STEPS)]
    for left, right in zip(weighted, copied, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-8)


def test_with_many_labels_it_is_level_with_logistic_regression() -> None:
    vector_ND, label_N, text_CD = world(count=1200, dim=8, spread=0.15)
    theirs = LogisticRegression(C=100, max_iter=1000).fit(vector_ND[:800], label_N[:800])
    weight_CD = lp_plus_plus(vector_ND[:800], label_N[:800], text_CD, SCALE)[-1]
    right_N = (vector_ND[800:] @ weight_CD.T).argmax(axis=1) == label_N[800:]
    zero_shot = ((vector_ND[800:] @ text_CD.T).argmax(axis=1) == label_N[800:]).mean()
    assert right_N.mean() >= theirs.score(vector_ND[800:], label_N[800:]) - 0.01
    assert right_N.mean() > zero_shot
