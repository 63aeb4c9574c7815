"""Many pairs are ranked in blocks among one sample of keys: as all with all, and near what rivals of their own say."""

import numpy as np
import pytest

from mmkd.reliability import streamed_ranks
from mmkd.reliability.posterior import null_ranks, other_captions, ranks_among
from mmkd.reliability.rank_test import rank_gate
from mmkd.reliability.streamed_ranks import Keys, Take, gate_of, null_ranks_of


def pairs(count: int, noise: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Image and text vectors; every fifth caption is one of three."""
    rng = np.random.default_rng(0)
    image_ND = rng.normal(size=(count, 33))
    text_ND = image_ND + noise * rng.normal(size=image_ND.shape)
    text_ND[::5] = text_ND[np.arange(len(text_ND[::5])) % 3]
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (image_ND, text_ND)]
    return unit[0].astype(np.float16), unit[1].astype(np.float16)


def taking(image_ND: np.ndarray, text_ND: np.ndarray) -> Take:
    return lambda place_B: (image_ND[place_B], text_ND[place_B])


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def among_all(query_ND: np.ndarray, own_ND: np.ndarray, own_N: np.ndarray, key_ND: np.ndarray) -> np.ndarray:
    """The share of all keys but the own one (-1: not among them) that the own key beats, in float64."""
    query_ND, own_ND, key_ND = (one.astype(np.float64) for one in (query_ND, own_ND, key_ND))
    shares = []
    for query_D, own_D, own in zip(query_ND, own_ND, own_N, strict=True):
        beaten_N = np.where((key_ND == own_D).all(axis=1), 0.5, key_ND @ query_D < own_D @ query_D)
        shares.append(beaten_N[np.arange(len(key_ND)) != own].mean())
    return np.array(shares)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MANY", 50), ("KEYS", 10_000), ("BLOCK", 64), ("SUMMED", 100)):
        monkeypatch.setattr(streamed_ranks, name, value)


def test_equal_keys_are_ties_and_the_own_one_is_left_out() -> None:
    image_ND, text_ND = pairs(300)
    place_S = np.arange(0, 300, 2)
    keys = Keys.of(place_S, text_ND[place_S])
    found_N = keys.percentile(image_ND, text_ND, np.arange(300))
    own_N = np.where(np.isin(np.arange(300), place_S), np.searchsorted(place_S, np.arange(300)), -1)
    np.testing.assert_allclose(found_N, among_all(image_ND, text_ND, own_N, text_ND[place_S]), atol=1e-6)
    alone = Keys.of(np.array([4]), text_ND[[4]])
    assert alone.percentile(image_ND[[4]], text_ND[[4]], np.array([4])).tolist() == [0.0]


@pytest.mark.usefixtures("small")
def test_among_all_keys_blocks_find_what_single_pairs_find() -> None:
    image_ND, text_ND = pairs(300)
    own_N = np.arange(300)
    forward_N = among_all(image_ND, text_ND, own_N, text_ND)
    for top in (0.02, 0.3):
        gate_N = gate_of(taking(image_ND, text_ND), 300, 1, top, rng())
        assert gate_N.tolist() == (forward_N > 1 - top).tolist()
    other_N = other_captions(300, rng())
    both_N = (forward_N + among_all(text_ND, image_ND, own_N, image_ND)) / 2
    drawn_ND = text_ND[other_N]
    drawn_N = (among_all(image_ND, drawn_ND, other_N, text_ND) + among_all(drawn_ND, image_ND, own_N, image_ND)) / 2
    ranks_N = null_ranks_of(taking(image_ND, text_ND), 300, 1, rng())
    np.testing.assert_allclose(ranks_N, ranks_among(both_N, drawn_N), atol=0.01)


def test_few_pairs_are_ranked_as_before() -> None:
    image_ND, text_ND = pairs(200)
    take = taking(image_ND, text_ND)
    assert gate_of(take, 200, 16, 0.3, rng()).tolist() == rank_gate(image_ND, text_ND, 16, 0.3, rng()).tolist()
    assert null_ranks_of(take, 200, 16, rng()).tolist() == null_ranks(image_ND, text_ND, 16, rng()).tolist()


def test_a_sample_of_keys_says_nearly_what_rivals_of_their_own_say(monkeypatch: pytest.MonkeyPatch) -> None:
    image_ND, text_ND = pairs(3_000, noise=3.0)
    whole_N = null_ranks(image_ND, text_ND, 1024, rng())
    monkeypatch.setattr(streamed_ranks, "MANY", 50)
    monkeypatch.setattr(streamed_ranks, "KEYS", 512)
    sampled_N = null_ranks_of(taking(image_ND, text_ND), 3_000, 1, rng())
    assert np.corrcoef(whole_N, sampled_N)[0, 1] > 0.99
    assert abs(whole_N.mean() - sampled_N.mean()) < 0.02
