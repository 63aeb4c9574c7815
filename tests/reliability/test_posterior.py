"""How likely captions are right: nothing, everything and half of them, with teachers of known skill."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmkd.reliability.posterior import (
    LOW,
    STEPS,
    null_ranks,
    posterior,
    posteriors_by_group,
    rank_density,
    share_right,
)


def pairs(count: int, right: float, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and text vectors of which a share fits, the rest are other pairs' captions; and which fit (N,)."""
    rng = np.random.default_rng(seed)
    image_ND = rng.normal(size=(count, 32))
    own_ND = image_ND + noise * rng.normal(size=image_ND.shape)
    right_N = rng.random(count) < right
    text_ND = np.where(right_N[:, None], own_ND, rng.permutation(own_ND))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image_ND, text_ND)]
    return unit[0], unit[1], right_N


def posterior_of(count: int, right: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    image_ND, text_ND, right_N = pairs(count, right, noise)
    rank_N = null_ranks(image_ND, text_ND, 128, np.random.default_rng(1))
    return posterior(rank_N, rank_density(rank_N)), right_N


def test_wrong_captions_have_uniform_ranks() -> None:
    image_ND, text_ND, _ = pairs(3000, 0.0, 0.1)
    rank_N = null_ranks(image_ND, text_ND, 128, np.random.default_rng(0))
    deciles = np.bincount((rank_N * 10).astype(int).clip(max=9), minlength=10) / 300
    assert np.abs(deciles - 1).max() < 0.25
    assert rank_N.mean() == pytest.approx(0.5, abs=0.02)


def test_ties_and_too_few_pairs_stand_in_the_middle() -> None:
    same = np.ones((40, 3)) / 3**0.5
    assert null_ranks(same, same, 16, np.random.default_rng(0)).tolist() == [0.5] * 40
    assert null_ranks(same[:2], same[:2], 16, np.random.default_rng(0)).tolist() == [0.5] * 2


def test_densities_by_hand() -> None:
    assert rank_density(np.array([])).tolist() == [1.0] * STEPS
    density_S = rank_density(np.array([0.0, 0.02, 1.0, 0.99]))
    assert density_S.tolist() == [10.0] + [0.0] * 18 + [10.0]
    # half uniform, half in the upper half: .5 below, 1.5 above, of which two thirds are right
    share_S = share_right(np.repeat([0.5, 1.5], STEPS // 2))
    np.testing.assert_allclose(share_S, np.repeat([0.0, 2 / 3], STEPS // 2))
    assert share_right(np.ones(STEPS)).tolist() == [0.0] * STEPS
    assert share_right(np.repeat([0.0, 2.0], STEPS // 2))[-1] == 1.0


def test_the_share_never_falls_with_the_rank_and_its_mean_is_at_least_the_excess() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        density_S = rank_density(np.concatenate([rng.random(200), 1 - 0.3 * rng.random(rng.integers(0, 300))]))
        share_S = share_right(density_S)
        assert (np.diff(share_S) >= 0).all()
        assert 0 <= share_S.min() <= share_S.max() <= 1
        wrong = min(1.0, density_S[:LOW].mean())
        assert (density_S * share_S).mean() >= 1 - wrong - 1e-9


def test_random_captions_have_a_low_posterior() -> None:
    assert posterior_of(2000, 0.0, 0.1)[0].mean() < 0.1


def test_right_captions_have_a_high_posterior_when_the_teacher_knows_them() -> None:
    assert posterior_of(2000, 1.0, 0.1)[0].min() > 0.99


@pytest.mark.parametrize(("right", "noise"), [(0.5, 0.1), (0.25, 0.1), (0.75, 0.1), (0.5, 2.0)])
def test_the_mean_posterior_is_the_share_of_right_captions_and_it_separates_them(right: float, noise: float) -> None:
    posterior_N, right_N = posterior_of(3000, right, noise)
    assert posterior_N.mean() == pytest.approx(right, abs=0.06)
    assert roc_auc_score(right_N, posterior_N) > 0.9
    for low, high in ((0.0, 0.3), (0.7, 1.0)):  # calibrated: of captions with such a posterior, so many are right
        inside = (posterior_N >= low) & (posterior_N <= high)
        assert right_N[inside].mean() == pytest.approx(posterior_N[inside].mean(), abs=0.08)


def test_a_weak_teacher_gives_too_low_rather_than_too_high_a_posterior() -> None:
    posterior_N, right_N = posterior_of(3000, 0.8, 6.0)
    assert 0.2 < posterior_N.mean() < 0.8
    assert posterior_N[right_N].mean() > posterior_N[~right_N].mean()


def test_a_small_group_is_read_with_the_density_of_all() -> None:
    rng = np.random.default_rng(3)
    large = np.concatenate([rng.random(1000), 1 - 0.05 * rng.random(1000)])
    small = np.array([0.99, 0.4, 0.98])
    _, found = posteriors_by_group([large, small])
    assert found[0] > 0.85 > 0.1 > found[1]
    single = posterior(small, np.ones(STEPS))
    assert single.max() < 0.3  # three ranks by themselves say little
    assert posteriors_by_group([]) == []
