"""Alike vectors by signs of projections: what comparing all with all finds."""

import numpy as np
import pytest

from mmkd.features import near_duplicates
from mmkd.features.near_duplicates import duplicates, near_duplicate_pairs, projections, signs
from mmkd.images.thresholds import FEATURE_RADIUS


def vectors(seed: int = 0) -> np.ndarray:
    """300 vectors, of which the last 60 are copies of the first with a cosine near 0.99."""
    rng = np.random.default_rng(seed)
    base_ND = rng.standard_normal((240, 96))
    return np.concatenate([base_ND, base_ND[:60] * 3 + 0.4 * rng.standard_normal((60, 96))])


def test_pairs_are_those_of_all_with_all() -> None:
    feature_ND = vectors()
    unit_ND = feature_ND / np.linalg.norm(feature_ND, axis=1, keepdims=True)
    cosine_NN = np.triu(unit_ND @ unit_ND.T, 1)
    pairs, cosine_P = near_duplicate_pairs(feature_ND.__getitem__, len(feature_ND), 0.97, np.random.default_rng(1))
    expected = {(int(a), int(b)) for a, b in np.argwhere(cosine_NN >= 0.97)}
    found = {(int(a), int(b)) for a, b in pairs}
    assert len(expected) == 60
    assert found <= expected
    assert len(found) >= 0.97 * len(expected)
    np.testing.assert_allclose(cosine_P, cosine_NN[pairs[:, 0], pairs[:, 1]], rtol=1e-12)


def test_signs_differ_as_often_as_the_angle_says() -> None:
    feature_ND = vectors()
    hash_N = signs(feature_ND, projections(feature_ND.shape[1], np.random.default_rng(2)))
    angle = np.arccos(
        np.sum(feature_ND[:60] * feature_ND[240:], axis=1)
        / np.prod([np.linalg.norm(part, axis=1) for part in (feature_ND[:60], feature_ND[240:])], axis=0)
    )
    differing = np.bitwise_count(hash_N[:60] ^ hash_N[240:])
    assert abs(differing.mean() - 64 * angle.mean() / np.pi) < 1.0
    assert np.mean(differing <= FEATURE_RADIUS) > 0.95


def test_a_row_without_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zero or not finite"):
        near_duplicate_pairs(np.zeros((2, 4)).__getitem__, 2, 0.9, np.random.default_rng(0))


def test_no_rows_make_no_pairs() -> None:
    pairs, cosine_P = near_duplicate_pairs(np.empty((0, 4)).__getitem__, 0, 0.9, np.random.default_rng(0))
    assert (len(pairs), len(cosine_P)) == (0, 0)


def test_pairs_do_not_depend_on_how_much_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    feature_ND = vectors().astype(np.float16)
    read: list[int] = []

    def some(rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return feature_ND[rows]

    whole, cosine_P = near_duplicate_pairs(some, len(feature_ND), 0.97, np.random.default_rng(1))
    monkeypatch.setattr(near_duplicates, "CHUNK", 7)
    read.clear()
    parts, _ = near_duplicate_pairs(some, len(feature_ND), 0.97, np.random.default_rng(1))
    assert max(read) == 7
    assert parts.tolist() == whole.tolist() != []
    assert cosine_P.min() >= 0.97


def test_the_twin_is_the_earliest_row_that_is_kept() -> None:
    pairs = np.array([[0, 2], [1, 2], [2, 3], [1, 4], [3, 4]])  # 3 is near only to 2, which is a duplicate
    assert duplicates(pairs, 6).tolist() == [-1, -1, 0, -1, 1, -1]
