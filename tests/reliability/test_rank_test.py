"""The rank test: perfect, useless and half-right teachers have known percentiles."""

import math

import numpy as np
import pytest

from mmkd.reliability import rank_test as rank_tests
from mmkd.reliability.rank_test import RankTest, own_percentile, passes, rank_gate, rank_test, shrunk, soft_weights


def unit(rows: int, dim: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, dim))
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_perfect_teacher_beats_every_rival() -> None:
    vectors = unit(200, 64, 0)
    assert own_percentile(vectors, vectors, 50, rng()).min() == 1.0
    assert rank_test(vectors, vectors, 50, rng()).advantage == 1.0


def test_a_useless_teacher_is_at_chance_within_its_standard_error() -> None:
    found = rank_test(unit(2000, 32, 1), unit(2000, 32, 2), 64, rng())
    assert abs(found.percentile - 0.5) < 3 * found.se
    assert found.se < 0.01


def test_half_wrong_captions_leave_half_of_the_advantage() -> None:
    image = unit(4000, 32, 3)
    text = image.copy()
    text[:2000] = unit(2000, 32, 4)
    found = rank_test(image, text, 64, rng())
    assert found.percentile == pytest.approx(0.75, abs=0.01)
    assert found.advantage == pytest.approx(0.5, abs=0.02)


def test_ties_count_half() -> None:
    same = np.ones((10, 4)) / 2
    assert own_percentile(same, same, 20, rng()).tolist() == [0.5] * 10


def test_the_percentile_by_hand() -> None:
    # with two rows the only rival is the other row
    query, key = np.eye(2), np.array([[0.6, 0.8], [1.0, 0.0]])
    # query 0: own cosine .6 against 1 loses; query 1: own cosine 0 against .8 loses
    assert own_percentile(query, key, 3, rng()).tolist() == [0.0, 0.0]


def test_blocks_change_nothing() -> None:
    image, text = unit(100, 8, 5), unit(100, 8, 6)
    whole = own_percentile(image, text, 2000, rng())
    blocked = own_percentile(image, text, 2000, rng(), block=7)
    assert np.abs(whole - blocked).max() < 0.06  # other rivals, the same law


def one_by_one(query_ND: np.ndarray, key_ND: np.ndarray, rivals: int, block: int) -> np.ndarray:
    """The same draws, and a sum for each query and rival."""
    count, draws = len(query_ND), rng()
    shares = []
    for first in range(0, count, block):
        rows = range(first, min(first + block, count))
        for row, shift_R in zip(rows, draws.integers(1, count, size=(len(rows), rivals)), strict=True):
            query_1D, key_RD = query_ND[[row]].astype(np.float32), key_ND[(row + shift_R) % count].astype(np.float32)
            own = np.einsum("nd,nd->n", query_1D, key_ND[[row]].astype(np.float32))[0]
            other_R = np.einsum("nd,nrd->nr", query_1D, key_RD[None])[0]
            shares.append(((other_R < own) + 0.5 * (other_R == own)).mean())
    return np.array(shares)


@pytest.mark.parametrize("widened", [rank_tests.WIDENED, 2000])
@pytest.mark.parametrize("together", [1, 5, rank_tests.TOGETHER])
def test_products_of_matrices_give_the_numbers_of_single_sums(
    together: int, widened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit, captions that stand there many times included."""
    monkeypatch.setattr(rank_tests, "TOGETHER", together)
    monkeypatch.setattr(rank_tests, "WIDENED", widened)
    image, text = unit(150, 67, 7).astype(np.float16), unit(150, 67, 8).astype(np.float16)
    text[40:120] = text[np.arange(80) % 3]
    image[::2] = text[::2]
    assert own_percentile(image, text, 31, rng(), block=64).tolist() == one_by_one(image, text, 31, 64).tolist()


def test_too_few_rows_say_nothing() -> None:
    found = rank_test(unit(1, 4, 0), unit(1, 4, 0), 10, rng())
    assert found == RankTest(0.5, math.inf, 1)


@pytest.mark.parametrize(("n", "trusted"), [(1, False), (2, False), (3, True), (50, True)])
def test_a_perfect_score_on_two_rows_is_no_evidence(n: int, trusted: bool) -> None:
    found = RankTest(1.0, 0.0, n)
    assert (found.advantage / math.sqrt(found.variance) >= 2.0) is trusted


def test_the_variance_is_that_of_guessing() -> None:
    found = [rank_test(unit(30, 8, 2 * k), unit(30, 8, 2 * k + 1), 256, rng()) for k in range(300)]
    scores = [one.advantage / math.sqrt(one.variance) for one in found]
    # the mean of both directions varies less than one of them, so the score is a little cautious
    assert abs(np.mean(scores)) < 0.15
    assert 0.6 < np.std(scores) < 1.1


def test_shrinking_by_hand() -> None:
    # advantages 0 and 1 of variance .1: tau^2 = (5 - 1) / (20 - 10) = .4, so a fifth of the way to the mean .5
    mean, deviation = shrunk(np.array([[0.0], [1.0]]), np.full((2, 1), 0.1))
    np.testing.assert_allclose(mean, [[0.1], [0.9]])
    np.testing.assert_allclose(deviation, np.sqrt(0.4 * 0.2 + 0.2**2 * 0.25))


def test_equal_advantages_are_pooled_and_a_group_without_rows_gets_the_mean() -> None:
    mean, deviation = shrunk(np.array([[0.2], [0.2], [0.0]]), np.array([[0.02], [0.02], [np.inf]]))
    np.testing.assert_allclose(mean, 0.2)
    np.testing.assert_allclose(deviation, 0.1)  # of the mean of both


def test_what_is_measured_on_many_rows_or_in_one_group_stays() -> None:
    advantage = np.array([[0.5, 0.01], [0.0, 0.3], [0.25, -0.4]])
    mean, deviation = shrunk(advantage, np.full_like(advantage, 1e-6))
    np.testing.assert_allclose(mean, advantage, atol=1e-4)
    np.testing.assert_allclose(deviation, 1e-3, rtol=1e-3)
    one, its = shrunk(np.array([[0.4], [0.0]]), np.array([[0.04], [np.inf]]))
    assert (one[0, 0], its[0, 0]) == (0.4, 0.2)


def test_shrinking_brings_noisy_advantages_nearer_to_the_truth() -> None:
    generator = np.random.default_rng(5)
    true = np.repeat([[0.5, 0.2]], 40, axis=0) * generator.integers(0, 2, size=(40, 2))
    variance = np.repeat(generator.choice([1e-4, 0.1], size=(40, 1)), 2, axis=1)
    measured = true + generator.normal(size=true.shape) * np.sqrt(variance)
    mean, _ = shrunk(measured, variance)
    assert np.square(mean - true).mean() < 0.7 * np.square(measured - true).mean()


def test_weights_by_hand() -> None:
    advantage = np.array([[0.4, 0.2, -0.3], [0.0, 0.1, 0.05]])
    z = np.array([[9.0, 9.0, -9.0], [0.0, 1.9, 1.0]])
    weight = soft_weights(advantage, z, power=4.0, z_min=2.0)
    np.testing.assert_allclose(weight, [[1.0, 0.5**4, 0.0], [0.0, 0.0, 0.0]])


def test_the_level_is_corrected_for_the_number_of_cells_as_holm_does() -> None:
    # one-sided p of 2.5, 2.2 and 0: .0062, .0139 and .5, by Holm .0186, .0278 and .5; the level of z = 2 is .0228
    z = np.array([[2.5, 2.2, 0.0]])
    assert passes(z, 2.0).tolist() == [[True, False, False]]
    assert passes(z, 2.0, "none").tolist() == [[True, True, False]]
    for alone in (1.99, 2.0, 2.01):
        assert passes(np.array([[alone]]), 2.0).item() is (alone >= 2.0)


def test_of_thirty_guessing_cells_hardly_ever_one_passes() -> None:
    generator = np.random.default_rng(11)
    groups, pairs = 10, 104  # of which a radiology teacher once had the weight 1 on histopathology
    variance = np.full((groups + 1, 3), RankTest(0.5, 0.0, pairs).variance)
    false = {"holm": 0, "none": 0}
    for _ in range(400):
        advantage = generator.normal(size=variance.shape) * np.sqrt(variance)
        advantage[-1] += 0.8  # each teacher is an expert in one group
        mean, deviation = shrunk(advantage, variance)
        for correction in ("holm", "none"):
            weight = soft_weights(mean, mean / deviation, 4.0, 2.0, correction)
            assert (weight[-1] > 0).all()
            false[correction] += bool((weight[:-1] > 0).any())
    assert false["holm"] <= 400 * 0.04
    assert false["none"] >= 400 * 0.35  # two standard errors in each of thirty cells


def test_the_gate_admits_the_own_caption_only_near_the_top() -> None:
    vectors = unit(300, 32, 7)
    assert rank_gate(vectors, vectors, 64, 0.25, rng()).all()
    share = rank_gate(vectors, unit(300, 32, 8), 64, 0.25, rng()).mean()
    assert 0.15 < share < 0.35
